"""The stack as a whole: which of its services run."""

from pathlib import Path

from services.local.stack import LocalStack
from tests.brokers import VhostBroker


async def test_only_the_services_that_are_asked_for_are_started(
    tmp_path: Path, stack_broker: VhostBroker
) -> None:
    async with LocalStack(tmp_path, broker=stack_broker, only=["users"]) as stack:
        assert stack.processes.keys() == {"users"}

        await stack.start_service("orders")

        assert stack.processes.keys() == {"users", "orders"}
