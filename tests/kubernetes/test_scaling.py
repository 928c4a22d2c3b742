"""What KEDA does with its login, on a real broker."""

import aio_pika

from services.contracts.topology import ORDER_SERVICE, ORDERS_COMMANDS
from services.local.logins import OPERATOR
from tests.brokers import RunningBroker

WAITING = 3


async def test_keda_may_count_what_waits_in_the_queue(conformance_broker: RunningBroker) -> None:
    """It declares the queue passively with the order service's login, whose rights are few."""
    async with (
        conformance_broker.stack_vhost() as broker,
        await aio_pika.connect(broker.url(OPERATOR)) as operator,
        await aio_pika.connect(broker.url(ORDER_SERVICE)) as keda,
    ):
        publishing = await operator.channel()
        for _ in range(WAITING):
            message = aio_pika.Message(b"{}")
            await publishing.default_exchange.publish(message, ORDERS_COMMANDS.name, timeout=10)
        counting = await keda.channel()
        queue = await counting.declare_queue(ORDERS_COMMANDS.name, passive=True, timeout=10)

    assert queue.declaration_result.message_count == WAITING
