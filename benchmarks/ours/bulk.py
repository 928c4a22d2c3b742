"""An order with room for a long body: what grows in `growth.body`."""

from services.contracts.orders import PlaceOrder


class PlaceBulkOrder(PlaceOrder):
    """The same command, with a note of any length."""

    note: str
