"""What the service does: each message that it takes, who may ask for it, and who handles it."""

from pathlib import Path

from auth.policy import requires
from billing.contract import RefundInvoice
from billing.handlers import bill_order, refund_invoice
from billing.store import MESSAGING
from billing.work import Work
from messaging.consumer import CommandConsumer
from messaging.onward import Onward
from services.contracts.orders import OrderPlaced
from services.contracts.scopes import ORDERS_WRITE
from services.contracts.topology import ORDER_SERVICE
from services.declared import read_declared
from services.own import OwnService

HERE = Path(__file__).parent
DECLARED = read_declared(HERE / "service.toml")
REFUND = "billing:refund"
CANCELLING = Onward(ORDER_SERVICE, frozenset({ORDERS_WRITE}))

commands = CommandConsumer(DECLARED.queue)
commands.hears(OrderPlaced)(bill_order)
commands.handles(RefundInvoice, requires(REFUND, ORDERS_WRITE), onward=[CANCELLING])(refund_invoice)

SERVICE = OwnService(
    declared=DECLARED,
    commands=commands,
    tables=MESSAGING,
    unit_of_work=Work,
    migrations=HERE / "migrations",
)
