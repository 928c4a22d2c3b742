"""The consumer of commands: verifies each delivery, has it handled once, settles it.

A service's consumer reads as a list of what it does:

    orders = CommandConsumer(ORDERS_COMMANDS)

    @orders.handles(PlaceOrder, requires("orders:write"), expiry=at_acceptance(PATIENCE))
    async def place_order(command: PlaceOrder, caller: Principal, work: OrderWork) -> None: ...

What happened elsewhere it can be told of as well: `hears` registers the handler of an event, which
works on the same terms, and has no caller.

    @billing.hears(OrderPlaced)
    async def bill_order(event: OrderPlaced, work: BillingWork) -> None: ...

A handler runs only for a message that was verified, inside the transaction that also holds its
inbox row. It returns, or raises:

    RefusalError      the command is refused: recorded, told (`on_refused`), dead letter
    RepeatedError     it had its effect before, longer ago than the inbox remembers: acknowledged
    NotYetError, TransientError, anything unforeseen, nothing within its time limit
                      rolled back and tried again, after 1 s, 5 s, 30 s, 2 min, 10 min
    TrustUnavailableError, DatabaseUnavailableError
                      ours: rolled back; the same delivery waits here until we can go on

A handler that kills the process does it at most five times, from the second time on with nobody
beside it (`messaging.dispatch`, `messaging.retries`); then its message is dead letter `poison`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from datetime import timedelta
from typing import Final, TypeVar

import structlog

from auth.message import UnverifiedMessage, VerifiedMessage
from auth.policy import Expiry, Policy, at_acceptance, at_processing, public
from auth.principal import Principal
from auth.seal import MAX_EVENT_AGE
from auth.verifier import Verifier
from messaging.consumer_parts import ConsumerParts
from messaging.contract import Command, Event
from messaging.dispatch import Dispatcher
from messaging.errors import DatabaseUnavailableError
from messaging.handlers import CommandHandler, EventHandler
from messaging.onward import Onward
from messaging.pruning import Pruner, retention
from messaging.registry import Registry
from messaging.serving import serve_with
from messaging.subscriptions import Subscriptions
from messaging.topology import WorkQueue
from messaging.unit_of_work import UnitOfWork

__all__ = ["CommandConsumer", "ConsumerParts"]

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)
W = TypeVar("W", bound=UnitOfWork)
Handler = Callable[[C, Principal, W], Awaitable[None]]
EventRun = Callable[[E, W], Awaitable[None]]

STOP: Final = 3.0
"""Seconds for the last word to the database."""

log = structlog.get_logger(__name__)


class CommandConsumer:
    """Handlers of commands on one work queue, in however many shards."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._handlers: Registry[CommandHandler] = Registry()
        self._subscriptions: Subscriptions | None = None
        self.counts: Counter[str] = Counter()
        """Outcomes so far: `done`, `retried`, `dead:<code>`."""

    def __iter__(self) -> Iterator[CommandHandler]:
        """What it handles."""
        return iter(self._handlers)

    @property
    def ready(self) -> bool:
        """Whether all its queues are consumed from, on channels that live."""
        return self._subscriptions is not None and self._subscriptions.ready

    @property
    def handlers(self) -> tuple[CommandHandler, ...]:
        """What was registered, for those who describe it (`services.interface`)."""
        return tuple(self._handlers)

    @property
    def retention(self) -> timedelta:
        """How long inbox rows are kept: longer than any message of ours can live."""
        return retention((handler.expiry for handler in self._handlers), self._queue)

    def handles(
        self,
        contract: type[C],
        policy: Policy,
        *,
        expiry: Expiry | None = None,
        together: bool = False,
        onward: Collection[Onward] = (),
    ) -> Callable[[Handler[C, W]], Handler[C, W]]:
        """Register the handler of a command.

        policy: `requires(...)` or an explicit `public()`; under the latter the caller is the
            client that sealed, without any scope.
        expiry: `at_processing()` unless another rule is given.
        together: many commands may share one transaction, which is much faster. For handlers that
            touch nothing but their unit of work: one that fails is run again, by itself.
        onward: what the handler may have other services do in its caller's name, with no scope
            that it does not require itself (`UnitOfWork.send_onward`). Where the caller's carnet
            has ended before it is handled, the command is refused (`messaging.onward`).

        Raises:
            TypeError: `policy` or `expiry` is none, the contract no command, the handler not async.
            ValueError: the command has a handler already; or `onward` names a service twice, a
                scope that the policy does not require, or none; or goes with `together`.
        """
        rule = at_processing() if expiry is None else expiry
        if not isinstance(policy, Policy) or not isinstance(rule, Expiry):
            raise TypeError(f"{contract.__name__} needs a Policy, and an Expiry if any")

        _check_hops(contract, policy, onward, together=together)

        def register(handler: Handler[C, W]) -> Handler[C, W]:
            entry = CommandHandler(contract, policy, rule, handler, together, tuple(onward))
            self._handlers.add(contract, Command, entry, handler)
            return handler

        return register

    def hears(self, contract: type[E]) -> Callable[[EventRun[E, W]], EventRun[E, W]]:
        """Register the handler of an event, which is bound to the queue as commands are.

        It is verified as events are: sealed by the one client whose they are. It may have waited
        for as long as events are believed (`messaging.relay.EVENT_LIFE`).

        Raises:
            TypeError: the contract is no event, or the handler not async.
            ValueError: the event has a handler already.
        """
        rule = at_acceptance(timedelta(seconds=MAX_EVENT_AGE))

        def register(handler: EventRun[E, W]) -> EventRun[E, W]:
            entry = EventHandler(contract, public(), rule, handler)
            self._handlers.add(contract, Event, entry, handler)
            return handler

        return register

    def judge(
        self, message: UnverifiedMessage, verifier: Verifier, *, now: float
    ) -> VerifiedMessage:
        """What a verifier says of a message, by the rules that its handler was registered under.

        Raises:
            RefusalError, TrustUnavailableError: as `Verifier.command`; `unknown_type`.
        """
        return self._handlers.choose(message.type).verify(verifier, message, now=now)

    async def run(self, parts: ConsumerParts, shutdown: asyncio.Event) -> None:
        """Consume until `shutdown`, then finish what runs, give back the rest, and return.

        Raises:
            ValueError: no handler is registered, or one acts in its caller's name and `parts`
                has nothing to do it with.
        """
        if not self._handlers:
            raise ValueError(f"no handler is registered for {self._queue.name}")
        if parts.onward is None and any(handler.onward for handler in self._handlers):
            raise ValueError(f"handlers of {self._queue.name} act for others: parts.onward is None")
        dispatcher = Dispatcher(self._queue, self._handlers, parts, self.counts, shutdown)
        self._subscriptions = Subscriptions(
            parts.broker,
            parts.queues or self._queue.consumed,
            prefetch=parts.prefetch,
            left=parts.left,
        )
        pruner = Pruner(
            parts.database,
            parts.tables,
            keep=self.retention,
            clock=parts.clock,
            interval=parts.pruning,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(pruner.run(shutdown), name="pruner")
            await serve_with(
                self._subscriptions,
                [dispatcher.run(self._subscriptions)],
                drain=parts.drain,
                shutdown=shutdown,
            )
        await _stop(dispatcher)


def _check_hops(
    contract: type[Command], policy: Policy, onward: Collection[Onward], *, together: bool
) -> None:
    if len({hop.to for hop in onward}) < len(onward):
        raise ValueError(f"{contract.__name__}: onward names a service twice")
    if any(not hop.scopes or not hop.scopes <= policy.scopes for hop in onward):
        raise ValueError(f"{contract.__name__}: onward takes scopes of those that it requires")
    if onward and together:
        raise ValueError(f"{contract.__name__}: what acts for its caller is handled by itself")


async def _stop(dispatcher: Dispatcher) -> None:
    try:
        async with asyncio.timeout(STOP):
            await dispatcher.stop()
    except (TimeoutError, DatabaseUnavailableError) as error:
        log.warning("starts_not_taken_back", detail=str(error))
