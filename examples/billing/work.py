"""What a handler works with: one message's transaction, and the service's own store in it."""

from functools import cached_property

from billing.store import Invoices
from messaging.unit_of_work import UnitOfWork


class Work(UnitOfWork):
    """The unit of work of the service's handlers."""

    @cached_property
    def invoices(self) -> Invoices:
        return Invoices(self.session)
