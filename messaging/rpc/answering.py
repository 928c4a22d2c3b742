"""From a request to its reply: verify, start at most once, answer in time or not at all."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pydantic import BaseModel

from auth.claims import LEEWAY
from auth.errors import RefusalError, TrustUnavailableError
from auth.message import VerifiedMessage
from auth.policy import Policy
from auth.seal import SealClaims
from messaging.contract import Request
from messaging.delivery import Delivery
from messaging.envelope import JOSE, JSON, Envelope, sealed_headers, trace_of
from messaging.errors import (
    BrokerUnavailableError,
    DatabaseUnavailableError,
    PublishError,
    UnroutableError,
)
from messaging.patience import Patience
from messaging.registry import Registry
from messaging.rpc.absent import Absent
from messaging.rpc.bodies import Cipher, Reply, refused_reply, reply_route
from messaging.rpc.caller import Caller
from messaging.rpc.errors import INTERNAL_ERROR, UNAVAILABLE, NoRecipientKeyError, Refused
from messaging.rpc.parts import RpcParts
from messaging.rpc.single_use import SingleUse
from messaging.topology import MAX_REQUEST_LIFE
from messaging.tracing import CALLS, UNKNOWN, step

MAX_LIFE: Final = MAX_REQUEST_LIFE.total_seconds()
SHORTEST: Final = 1.0
"""Seconds that a reply has at least: the caller's clock may be behind ours."""

UNJUDGED: Final = TrustUnavailableError("for the whole life of a request").code
"""Why a request was dropped that could not be judged in its time."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RequestHandler:
    """What was registered for one type of request."""

    contract: type[Request[Any]]
    policy: Policy
    run: Callable[[Any, Caller], Awaitable[BaseModel]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A genuine request, and why it is refused, if so."""

    delivery: Delivery
    handler: RequestHandler
    message: VerifiedMessage
    refusal: RefusalError | None

    @property
    def seal(self) -> SealClaims:
        return self.message.seal


class Answering:
    """Answers the requests of one queue."""

    def __init__(
        self, handlers: Registry[RequestHandler], parts: RpcParts, counts: Counter[str]
    ) -> None:
        """`counts`: where it is counted what became of requests."""
        self._handlers = handlers
        self._parts = parts
        self._cipher = Cipher(parts.trust, parts.decryption)
        self._used = SingleUse()
        self._absent = Absent()
        self._counts = counts
        parts.broker.telemetry.watch(parts.verifier)
        self._tracing = parts.broker.telemetry.tracing
        self._types = frozenset(handler.contract.route.type for handler in handlers)
        self._durations = parts.broker.telemetry.metrics.histogram(
            "rpc_server_call_duration_seconds",
            "Time to answer a request, or to drop it, by the code of the refusal or fault.",
            labels=("rpc_method", "error_type"),
        )

    async def answer(self, delivery: Delivery, patience: Patience) -> None:
        """As `_answer_or_drop`, as a step of the caller's trace, and timed.

        Raises:
            GivenUpError: as there.
        """
        method = delivery.type if delivery.type in self._types and delivery.type else UNKNOWN
        attributes = {"rpc.system.name": CALLS, "rpc.method": method}
        began, trace = time.perf_counter(), trace_of(delivery.headers)
        with step(self._tracing, method, "server", parent=trace, attributes=attributes) as span:
            failed = await self._answer_or_drop(delivery, patience)
            if failed:
                span.fail(failed)
        self._durations.of(method, failed).observe(time.perf_counter() - began)

    async def _answer_or_drop(self, delivery: Delivery, patience: Patience) -> str:
        """Publish the reply, unless nobody is there to have it, or nobody who may.

        Raises:
            GivenUpError: the end of `patience` came before it could be judged; it is not settled.
        """
        asked = await self._judge(delivery, patience)
        # Before it is started on: a request is answered once or not at all.
        await delivery.ack()
        if isinstance(asked, str):
            # Whoever sent it is not known to be who it says: there is nobody to answer to.
            return self._drop(asked, delivery)
        unanswerable = self._unanswerable(asked)
        if unanswerable is not None:
            return self._drop(unanswerable, delivery)
        reply = await self._answer_in_time(asked)
        if reply is None:
            return self._drop("out_of_time", delivery)
        try:
            await self._send(reply, asked)
        except UnroutableError:
            self._absent.note(asked.delivery.reply_to or "")
            return self._drop("caller_gone", delivery)
        except (BrokerUnavailableError, PublishError, NoRecipientKeyError) as error:
            return self._drop(error.code, delivery)
        return "" if reply.error is None else reply.error.code

    async def _judge(self, delivery: Delivery, patience: Patience) -> _Asked | str:
        """The request, or why nobody knows whose it is.

        While trust is away it is held here, for as long as its sender says that it counts.
        """
        life = MAX_LIFE if delivery.life is None else min(delivery.life, MAX_LIFE)
        try:
            async with asyncio.timeout(life - delivery.waited):
                return await patience.insist(lambda: self._authenticate(delivery))
        except RefusalError as refusal:
            return refusal.code
        except TimeoutError:
            return UNJUDGED

    async def _authenticate(self, delivery: Delivery) -> _Asked:
        handler = self._handlers.choose(delivery.type)
        try:
            message = self._parts.verifier.request(
                delivery.unverified(),
                handler.contract.route,
                handler.policy,
                now=self._parts.clock(),
            )
        except RefusalError as refusal:
            if refusal.authenticated is None:
                raise
            return _Asked(delivery, handler, refusal.authenticated, refusal)
        return _Asked(delivery, handler, message, None)

    def _unanswerable(self, asked: _Asked) -> str | None:
        """Why a genuine request is not even started on, if so."""
        seal, now, delivery = asked.seal, self._parts.clock(), asked.delivery
        if self._left(asked) <= 0:
            return "late"
        if not (delivery.reply_to or "").startswith(f"carnet.{seal.iss}."):
            return "foreign_reply_to"  # nobody aims a reply at another client's queue
        if delivery.reply_to in self._absent:
            return "caller_gone"
        if not self._used.use(seal.iss, seal.jti, until=seal.exp + LEEWAY, now=now):
            return "replayed"
        return None

    def _left(self, asked: _Asked) -> float:
        """Seconds until the request's end."""
        # The leeway is for clocks that differ. How long it has waited here we know exactly.
        by_the_seal = asked.seal.exp + LEEWAY - self._parts.clock()
        return min(_life(asked) - asked.delivery.waited, by_the_seal)

    async def _answer_in_time(self, asked: _Asked) -> Reply[BaseModel] | None:
        """The reply; None if the request's end came first. Then the handler was cancelled."""
        try:
            async with asyncio.timeout(self._left(asked)) as limit:
                reply, became = await self._answer(asked)
        except TimeoutError:
            return None
        if limit.expired() or self._left(asked) <= 0:  # a handler may heed no cancellation
            return None
        self._counts[became] += 1
        return reply

    async def _answer(self, asked: _Asked) -> tuple[Reply[BaseModel], str]:
        """The reply, and what has become of the request."""
        try:
            result = await self._run(asked)
        except Refused as refusal:
            reply = refused_reply(refusal.code, refusal.detail, retry_after=refusal.retry_after)
            return reply, "refused"
        except RefusalError as refusal:
            return refused_reply(refusal.code, refusal.detail), "refused"
        except (DatabaseUnavailableError, TrustUnavailableError) as fault:
            log.warning("request_not_answerable", type=asked.seal.ty, detail=fault.detail)
            return refused_reply(UNAVAILABLE, "the service cannot answer at present"), "failed"
        except Exception:
            # A handler may raise anything; its text may hold what the caller must not see.
            log.exception("request_failed", type=asked.seal.ty, request_id=asked.seal.jti)
            return refused_reply(INTERNAL_ERROR, "the service failed at this request"), "failed"
        return Reply[BaseModel].model_construct({"ok"}, ok=result), "answered"

    async def _run(self, asked: _Asked) -> BaseModel:
        if asked.refusal is not None:
            raise asked.refusal
        contract, body = asked.handler.contract, asked.delivery.body
        request = contract.from_body(self._cipher.decrypt(body) if contract.encrypted else body)
        caller = Caller(asked.seal.iss, asked.message.principal, asked.seal.jti)
        result = await asked.handler.run(request, caller)
        if not isinstance(result, contract.reply):
            raise TypeError(f"{contract.__name__} is answered with a {contract.reply.__name__}")
        return result

    async def _send(self, reply: Reply[BaseModel], asked: _Asked) -> None:
        seal, encrypted = asked.seal, asked.handler.contract.encrypted
        body = reply.to_body()
        if encrypted:
            body = self._cipher.encrypt(body, seal.iss)
        route = reply_route(asked.delivery.reply_to or "", seal.ty)
        now = self._parts.clock()
        left = max(SHORTEST, seal.exp - now)
        sealed = self._parts.sealer.reply(
            route=route,
            audience=seal.iss,
            message_id=str(uuid.uuid4()),
            body=body,
            request_id=seal.jti,
            now=now,
            expires_at=now + left,
        )
        envelope = Envelope(
            route=route,
            body=body,
            headers=sealed_headers(sealed, None),
            content_type=JOSE if encrypted else JSON,
            correlation_id=asked.delivery.correlation_id,
            expiration=left,
            persistent=False,
        )
        await self._parts.publisher.publish(envelope, deadline=left)

    def _drop(self, why: str, delivery: Delivery) -> str:
        self._counts[f"dropped:{why}"] += 1
        log.warning("request_dropped", why=why, type=f"{delivery.type!r:.100}")
        return why


def _life(asked: _Asked) -> float:
    """Seconds that the request counts at most: it is sealed in whole ones."""
    sealed = max(SHORTEST, asked.seal.exp - asked.seal.iat)
    return sealed if asked.delivery.life is None else min(asked.delivery.life, sealed)
