"""The queues of the whole system, and how much lies in each."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from messaging.broker import Broker
from messaging.inspection import QueueCount, count_queues
from messaging.topology import WorkQueue
from services.contracts.topology import ORDERS_RPC, USERS_RPC, orders_commands
from services.declared import Declared

Kind = Literal["work", "retry", "dead", "rpc"]

DEADLINE: Final = 10.0
"""Seconds for the broker to count them."""


@dataclass(frozen=True, slots=True)
class NamedQueue:
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Counted:
    """What lies ready in a queue and how many consume from it; None where that is not to be seen.

    It is not there, or the broker does not let this login know.
    """

    queue: NamedQueue
    count: QueueCount | None

    def as_json(self) -> dict[str, Any]:
        count = self.count
        return {
            "name": self.queue.name,
            "kind": self.queue.kind,
            "messages": None if count is None else count.messages,
            "consumers": None if count is None else count.consumers,
        }


def queues_of(shards: int, declared: Declared) -> tuple[NamedQueue, ...]:
    """All of them.

    shards: of the order consumer's work.   declared: services of one's own beside the others.
    """
    works = (orders_commands(shards), *(each.queue for each in declared))
    return (
        *(queue for work in works for queue in _of_work(work)),
        NamedQueue(USERS_RPC, "rpc"),
        NamedQueue(ORDERS_RPC, "rpc"),
    )


def _of_work(work: WorkQueue) -> tuple[NamedQueue, ...]:
    return (
        *(NamedQueue(name, "work") for name in work.consumed),
        *(NamedQueue(retry.name, "retry") for retry in work.retries),
        NamedQueue(work.dead, "dead"),
    )


async def counted(
    broker: Broker, queues: tuple[NamedQueue, ...], *, deadline: float = DEADLINE
) -> list[Counted]:
    """How much lies in each.

    Raises:
        BrokerUnavailableError: the connection broke, or `deadline` (seconds) passed.
    """
    counts = await count_queues(broker, [queue.name for queue in queues], deadline=deadline)
    return [Counted(queue, counts.get(queue.name)) for queue in queues]


def lying(counts: list[Counted], kind: Kind) -> int | None:
    """Messages in all queues of a kind; None where none of them is to be seen."""
    seen = [each.count.messages for each in counts if each.queue.kind == kind and each.count]
    return sum(seen) if seen else None
