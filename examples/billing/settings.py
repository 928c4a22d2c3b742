"""What the service needs to know: CARNET_… in its environment, or CARNET_…_FILE."""

from services.settings import ServiceSettings


class Settings(ServiceSettings):
    """A setting of the service's own is a field here: `colour: str = "blue"` is CARNET_COLOUR."""
