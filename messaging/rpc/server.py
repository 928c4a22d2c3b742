"""The answering side: a list of what a service answers, and the loop that does it.

    service = RpcServer(ORDERS_RPC)

    @service.answers(GetOrder, requires("orders:read"))
    async def get_order(request: GetOrder, caller: Caller) -> OrderView: ...

A handler returns the contract's reply or raises `Refused`; a `RefusalError` counts as one too. It
is not started for a caller that is gone: the request's time has passed, in the queue or here, or
the broker has said that the caller's reply queue is no more. At the request's end it is cancelled,
and nothing is answered. A request that comes while trust is away is held, unanswered and not
acknowledged, until it can be judged or its time is over. When a handler finds the database or the
trust away, the caller is told `unavailable`. What is unforeseen is logged here, and the caller
learns no more than that.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from auth.policy import Policy
from messaging.contract import Request
from messaging.delivery import Delivery
from messaging.patience import GivenUpError, Patience
from messaging.registry import Registry
from messaging.rpc.answering import Answering, RequestHandler
from messaging.rpc.caller import Caller
from messaging.rpc.parts import RpcParts
from messaging.serving import serve
from messaging.subscription import Subscription, shared_queue

LOOK: Final = 1.0
"""Seconds between two looks at most whether trust is back: a request has only a few."""

R = TypeVar("R", bound=BaseModel)
Q = TypeVar("Q", bound=Request[Any])
Handler = Callable[[Q, Caller], Awaitable[R]]


class RpcServer:
    """Handlers of requests on one queue."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._handlers: Registry[RequestHandler] = Registry()
        self._subscription: Subscription | None = None
        self.counts: Counter[str] = Counter()
        """What became of requests: `answered`, `refused`, `failed`, `dropped:<why>`.

        `dropped:out_of_time` are the handlers that were cancelled at their request's end.
        """

    @property
    def ready(self) -> bool:
        """Whether the consumer is registered on a channel that lives."""
        return self._subscription is not None and self._subscription.ready

    @property
    def handlers(self) -> tuple[RequestHandler, ...]:
        """What was registered, for those who describe it (`services.interface`)."""
        return tuple(self._handlers)

    def answers(
        self, contract: type[Q], policy: Policy
    ) -> Callable[[Handler[Q, R]], Handler[Q, R]]:
        """Register the handler of a request. `policy`: `requires(...)` or an explicit `public()`.

        Raises:
            TypeError: `policy` is none, the contract no request, or the handler not async.
            ValueError: the request has a handler already.
        """
        if not isinstance(policy, Policy):
            raise TypeError(f"{contract.__name__} needs a Policy")

        def register(handler: Handler[Q, R]) -> Handler[Q, R]:
            entry = RequestHandler(contract, policy, handler)
            self._handlers.add(contract, Request, entry, handler)
            return handler

        return register

    async def run(self, parts: RpcParts, shutdown: asyncio.Event) -> None:
        """Answer until `shutdown`, then finish what runs, give back the rest, and return.

        Raises:
            ValueError: no handler is registered, or one is for encrypted requests and `parts`
                has no key to open them.
        """
        if not self._handlers:
            raise ValueError(f"no handler is registered for {self._queue}")
        if parts.decryption is None and any(h.contract.encrypted for h in self._handlers):
            raise ValueError(f"requests to {self._queue} are encrypted, and there is no key")
        answering = Answering(self._handlers, parts, self.counts)
        self._subscription = Subscription(
            parts.broker, shared_queue(self._queue), prefetch=parts.prefetch
        )

        async def handle(delivery: Delivery) -> None:
            patience = Patience(shutdown, [delivery.registration.lost], longest=LOOK)
            with suppress(GivenUpError):  # the broker keeps the request
                await answering.answer(delivery, patience)

        await serve(
            self._subscription,
            handle,
            concurrency=parts.concurrency,
            drain=parts.drain,
            shutdown=shutdown,
        )
