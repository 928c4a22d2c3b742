"""The calling side: sends requests, and gives each the one reply that is believed for it."""

import asyncio
import secrets
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

import structlog
from pydantic import BaseModel

from auth.encryption import DecryptionKey
from auth.errors import RefusalError, TrustUnavailableError
from auth.message import Route
from auth.seal import Sealer
from auth.trust import TrustSource
from auth.verifier import Verifier
from messaging.backlog import LIMIT, Backlog
from messaging.broker import Broker
from messaging.contract import Request
from messaging.delivery import Delivery
from messaging.envelope import JOSE, JSON, Envelope, sealed_headers
from messaging.errors import BrokerUnavailableError, LateError
from messaging.publisher import Publisher
from messaging.rpc.bodies import Cipher, read_reply, reply_route
from messaging.rpc.errors import RpcTimeoutError
from messaging.serving import serve
from messaging.subscription import Subscription, exclusive_queue
from messaging.topology import MAX_REQUEST_LIFE, REPLY
from messaging.tracing import CALLS, code_of, step

PREFETCH: Final = 500
DRAIN: Final = 1.0

R = TypeVar("R", bound=BaseModel)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A request under way: what its reply must be, and the trace that it belongs to."""

    route: Route
    responder: str
    request_id: str
    encrypted: bool
    trace: Mapping[str, str]
    body: asyncio.Future[bytes] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def fail(self, error: Exception) -> None:
        if not self.body.done():
            self.body.set_exception(error)
            self.body.exception()  # seen, should the caller have gone


class RpcClient:
    """Calls services in one client's name; share one per process."""

    def __init__(
        self,
        broker: Broker,
        publisher: Publisher,
        sealer: Sealer,
        verifier: Verifier,
        *,
        trust: TrustSource,
        decryption: DecryptionKey | None,
        clock: Callable[[], float],
        limit: int = LIMIT,
    ) -> None:
        """Nothing is sent before `start`.

        decryption: our own key, for replies to encrypted requests.
        limit: calls under way at once; more are refused at once.
        """
        self._publisher = publisher
        self._sealer = sealer
        self._verifier = verifier
        self._cipher = Cipher(trust, decryption)
        self._clock = clock
        self._backlog = Backlog(limit)
        self._calls: dict[str, _Call] = {}
        self._subscription = Subscription(
            broker,
            exclusive_queue(f"carnet.{sealer.client_id}", REPLY),
            prefetch=PREFETCH,
            on_lost=self._give_up,
        )
        self._shutdown = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        broker.telemetry.watch(verifier)
        self._tracing = broker.telemetry.tracing
        self._durations = broker.telemetry.metrics.histogram(
            "rpc_client_call_duration_seconds",
            "Time until a call had its reply, or failed, by the code that says how.",
            labels=("rpc_method", "error_type"),
        )
        self.counts: Counter[str] = Counter()
        """Replies that were dropped: `late`, or the code of their refusal."""

    @property
    def ready(self) -> bool:
        """Whether replies can reach us."""
        return self._subscription.ready

    async def start(self, deadline: float) -> None:
        """Listen for replies, within `deadline` seconds.

        Raises:
            BrokerUnavailableError: not in that time; it is still tried, until `close`.
        """
        self._serving = asyncio.create_task(
            serve(
                self._subscription,
                self._receive,
                concurrency=1,
                drain=DRAIN,
                shutdown=self._shutdown,
            ),
            name="rpc replies",
        )
        await self._subscription.wait_until_ready(deadline)

    async def close(self) -> None:
        """Stop listening; calls under way fail."""
        self._shutdown.set()
        self._give_up()
        if self._serving is not None:
            await self._serving

    async def call(
        self, request: Request[R], *, responder: str, deadline: float, carnet: str | None = None
    ) -> R:
        """Ask the service `responder`, a client id; at most `deadline` seconds.

        carnet: on whose behalf.

        Raises:
            RpcRefusedError: the service's own refusal, with its code.
            RpcTimeoutError: no reply in time, or the service cannot answer at present.
            NoRecipientKeyError: an encrypted request to a service without a listed key.
            InvalidBodyError: the reply is not of the request's contract.
            BacklogFullError: as many calls as we hold are under way already.
            BrokerUnavailableError, PublishError: as `Publisher.publish`.
        """
        if not 0 < deadline <= MAX_REQUEST_LIFE.total_seconds():
            raise ValueError(f"a deadline is at most {MAX_REQUEST_LIFE}")
        method, failed, began = request.route.type, "", time.perf_counter()
        attributes = {"rpc.system.name": CALLS, "rpc.method": method, "server.address": responder}
        try:
            with (
                step(self._tracing, method, "client", attributes=attributes) as span,
                self._backlog.place(0),
            ):
                return await self._call(request, responder, deadline, carnet, span.headers)
        except BaseException as error:
            failed = code_of(error)
            raise
        finally:
            self._durations.of(method, failed).observe(time.perf_counter() - began)

    async def _call(
        self,
        request: Request[R],
        responder: str,
        deadline: float,
        carnet: str | None,
        trace: Mapping[str, str],
    ) -> R:
        end = asyncio.get_running_loop().time() + deadline
        registration = await self._subscription.wait_until_ready(deadline)
        correlation_id = secrets.token_urlsafe(24)
        call = _Call(
            route=reply_route(registration.queue, request.route.type),
            responder=responder,
            request_id=str(uuid.uuid4()),
            encrypted=request.encrypted,
            trace=trace,
        )
        envelope = self._envelope(request, call, correlation_id, deadline, carnet)
        self._calls[correlation_id] = call
        try:
            left = end - asyncio.get_running_loop().time()
            await self._publisher.publish(envelope, deadline=left)
            async with asyncio.timeout_at(end):
                body = await call.body
        except (TimeoutError, LateError) as error:
            raise RpcTimeoutError(
                f"{responder} did not answer {request.route.type} within {deadline:g} s"
            ) from error
        finally:
            del self._calls[correlation_id]
            call.body.cancel()
        return cast("R", read_reply(request.reply, body))

    def _envelope(
        self,
        request: Request[R],
        call: _Call,
        correlation_id: str,
        deadline: float,
        carnet: str | None,
    ) -> Envelope:
        body = request.to_body()
        if request.encrypted:
            body = self._cipher.encrypt(body, call.responder)
        now = self._clock()
        seal = self._sealer.request(
            route=request.route,
            audience=call.responder,
            message_id=call.request_id,
            body=body,
            reply_to=call.route.routing_key,
            carnet=carnet,
            now=now,
            expires_at=now + deadline,
        )
        return Envelope(
            route=request.route,
            body=body,
            headers=sealed_headers(seal, carnet, call.trace),
            content_type=JOSE if request.encrypted else JSON,
            correlation_id=correlation_id,
            reply_to=call.route.routing_key,
            expiration=deadline,
            persistent=False,
        )

    async def _receive(self, delivery: Delivery) -> None:
        """Believe the reply of the service that was called; drop any other and wait on."""
        await delivery.ack()
        call = self._calls.get(delivery.correlation_id or "")
        if call is None or call.body.done():
            self.counts["late"] += 1
            return
        try:
            self._verifier.reply(
                delivery.unverified(),
                call.route,
                responder=call.responder,
                request_id=call.request_id,
                now=self._clock(),
            )
            body = delivery.body
            call.body.set_result(self._cipher.decrypt(body) if call.encrypted else body)
        except RefusalError as refusal:
            self.counts[refusal.code] += 1
            log.warning("reply_refused", code=refusal.code, detail=refusal.detail)
        except TrustUnavailableError as fault:
            call.fail(fault)

    def _give_up(self) -> None:
        """The queue is gone, and with it every reply that is still to come."""
        for call in self._calls.values():
            call.fail(BrokerUnavailableError("the connection broke before the reply came"))
