"""Every message of the system: who may send it, who takes it, by which rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from auth.policy import Expiry, Policy, at_processing
from auth.seal import MAX_EVENT_AGE, MAX_REQUEST_AGE, Kind
from messaging.consumer import CommandConsumer
from messaging.contract import Contract, Event, Request
from messaging.rpc import RpcServer
from services.contracts import journeys, orders, topology
from services.contracts.clients import CLIENTS
from services.orders.app import order_commands, order_queries
from services.orders.queries import Queries
from services.users.administration import Administration
from services.users.app import user_service
from services.users.handlers import Handlers


@dataclass(frozen=True, slots=True)
class Part:
    """One service, as far as others send it something or hear of it.

    hears: events of others.
    """

    client: str
    commands: tuple[CommandConsumer, str] | None = None
    """The consumer, and the name of its work queue."""
    requests: tuple[RpcServer, str] | None = None
    """What answers, and the name of its queue."""
    tells: tuple[type[Event], ...] = ()
    hears: tuple[type[Event], ...] = ()


_ORDER_EVENTS: Final = (
    orders.OrderPlaced,
    orders.OrderCancelled,
    orders.OrderRefused,
    journeys.MessageJourney,
)


def parts() -> tuple[Part, ...]:
    """The services of this system. A team adds its own here."""
    # Of the handlers only their registration is wanted: the classes have the methods' names, and
    # nothing is called.
    queries, answers = cast("Queries", Queries), cast("Handlers", Handlers)
    administration = cast("Administration", Administration)
    return (
        Part(
            topology.ORDER_SERVICE,
            commands=(order_commands(), topology.ORDERS_COMMANDS.name),
            requests=(order_queries(queries), topology.ORDERS_RPC),
            tells=_ORDER_EVENTS,
        ),
        Part(
            topology.USER_SERVICE,
            requests=(user_service(answers, administration), topology.USERS_RPC),
        ),
        Part(topology.GATEWAY, hears=_ORDER_EVENTS),
    )


@dataclass(frozen=True, slots=True)
class Message:
    """One type of message, with what its receiver demands.

    receivers: client ids. An event may have others as well, whom it is not addressed to.
    queue: where the receiver takes it from; None for an event, which everybody has a queue for.
    policy: None for an event, which carries no carnet.
    max_age: seconds that a seal counts at most.
    """

    contract: type[Contract]
    kind: Kind
    publishers: tuple[str, ...]
    receivers: tuple[str, ...]
    queue: str | None
    policy: Policy | None
    expiry: Expiry | None
    max_age: int

    @property
    def type(self) -> str:
        return self.contract.route.type

    @property
    def encrypted(self) -> bool:
        return issubclass(self.contract, Request) and self.contract.encrypted


def messages() -> tuple[Message, ...]:
    """All of them, in the order of their types."""
    found = [message for part in parts() for message in _of(part)]
    return tuple(sorted(found, key=lambda message: message.type))


def _of(part: Part) -> Iterator[Message]:
    if part.commands is not None:
        consumer, queue = part.commands
        for command in consumer.handlers:
            yield Message(
                command.contract,
                "cmd",
                _publishers(command.contract),
                (part.client,),
                queue,
                command.policy,
                command.expiry,
                int(command.expiry.max_age.total_seconds()),
            )
    if part.requests is not None:
        server, queue = part.requests
        for request in server.handlers:
            yield Message(
                request.contract,
                "req",
                _publishers(request.contract),
                (part.client,),
                queue,
                request.policy,
                at_processing(),
                MAX_REQUEST_AGE,
            )
    for event in part.tells:
        hearers = tuple(each.client for each in parts() if event in each.hears)
        yield Message(event, "evt", _publishers(event), hearers, None, None, None, MAX_EVENT_AGE)


def _publishers(contract: type[Contract]) -> tuple[str, ...]:
    wanted = contract.route.type
    return tuple(client for client, grant in CLIENTS.items() if wanted in grant.publishes)
