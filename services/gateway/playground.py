"""The playground: a user's own message, tampered with on its way to the real order service.

Each forgery begins with the user's own, genuine command and ends on the broker, under the
gateway's own login, where the order service meets it as it would meet an attacker's. What the
order service found is waited for and returned. Why this may be offered is said in
docs/threat-model.md; it is off unless `CARNET_PLAYGROUND` says otherwise.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from auth.explain import decode_unverified
from auth.keys import SigningKey
from auth.message import AUTHORIZATION, BEARER, CARNET_SEAL
from auth.seal import Sealer
from auth.statements import Revocation
from messaging.contract import Command
from messaging.envelope import Envelope, sealed_headers
from messaging.journeys import JOURNEY, Mark
from messaging.publisher import Publisher
from messaging.rpc import RpcClient, RpcRefusedError
from messaging.sharding import SHARD, Sharding
from services.contracts.journeys import MessageJourney, TokenTold
from services.contracts.orders import PATIENCE, CancelOrder, PlaceOrder
from services.contracts.playground import NOBODY
from services.contracts.scopes import ORDERS_READ, ORDERS_WRITE
from services.contracts.topology import GATEWAY, ORDER_SERVICE, USER_SERVICE
from services.contracts.users import SignOut
from services.gateway.carnets import Caller, Carnets
from services.gateway.journeys import JourneyHub
from services.web import problems
from services.web.problems import ProblemError

MAX_TEXT: Final = 4096
"""Characters of a body as the user has changed it."""
PER_MINUTE: Final = 12
"""Forgeries of one user in a minute."""
OF_ALL_PER_MINUTE: Final = 120
"""Forgeries of all users at one gateway in a minute."""
REPORT: Final = 10.0
"""Seconds for the order service to say what it found."""
FEED: Final = 5.0
"""Seconds for a revocation to come round."""
MINUTE: Final = 60.0
STALE: Final = 600.0
"""Seconds since which a command is no longer wanted: far beyond every leeway."""


class Forgery(StrEnum):
    """What is done to the message."""

    BODY = "body"
    MOVED = "moved"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    REVOKED = "revoked"
    KEY = "key"
    NONE = "none"


class Sent(BaseModel):
    """What was put on the broker, without the signatures that make tokens of it."""

    model_config = ConfigDict(frozen=True)

    type: str
    body: str
    carnet: TokenTold
    seal: TokenTold


class Tried(BaseModel):
    """What became of a forgery."""

    model_config = ConfigDict(frozen=True)

    sent: Sent | None = Field(description="Null where it was stopped before it was a message.")
    stopped_by: str | None = Field(description="The service that refused it, if one did.")
    code: str | None
    detail: str | None
    journey: MessageJourney | None = Field(
        description="What the order service found; null where it did not say so in time."
    )


@dataclass(slots=True)
class Rate:
    """How often forgeries are made: bounded for each user, and for all together."""

    clock: Callable[[], float]
    _made: deque[tuple[float, str]] = field(default_factory=deque)

    def take(self, subject: str) -> None:
        """Count one more.

        Raises:
            ProblemError: 429, there are too many already.
        """
        now = self.clock()
        while self._made and self._made[0][0] <= now - MINUTE:
            self._made.popleft()
        own = sum(whose == subject for _, whose in self._made)
        if own >= PER_MINUTE or len(self._made) >= OF_ALL_PER_MINUTE:
            wait = max(1, round(self._made[0][0] + MINUTE - now))
            raise ProblemError(
                problems.TOO_MANY_ATTEMPTS,
                "That is enough forgery for a minute.",
                headers={"Retry-After": str(wait)},
            )
        self._made.append((now, subject))


class Playground:
    """Makes forgeries of a user's own message, and says what became of each."""

    def __init__(
        self,
        *,
        sealer: Sealer,
        publisher: Publisher,
        carnets: Carnets,
        rpc: RpcClient,
        hub: JourneyHub,
        clock: Callable[[], float],
        deadline: float,
        sharding: Sharding,
    ) -> None:
        """`deadline`: seconds for the broker, and for a service to answer."""
        self._sealer = sealer
        self._publisher = publisher
        self._carnets = carnets
        self._rpc = rpc
        self._hub = hub
        self._clock = clock
        self._deadline = deadline
        self._sharding = sharding
        self._rate = Rate(clock)
        self._ending: dict[str, asyncio.Event] = {}
        """By session: those that are being ended here."""

    def hear(self, revoked: Revocation) -> None:
        """A revocation has come round."""
        if revoked.sid in self._ending:
            self._ending[revoked.sid].set()

    async def play(
        self, forgery: Forgery, order: PlaceOrder, caller: Caller, *, text: str | None = None
    ) -> Tried:
        """Tamper with the caller's own order, send it, and wait for what becomes of it.

        text: the body that takes the place of the sealed one, for `BODY`.

        Raises:
            ProblemError: 429.
            MessagingError, AuthError: as for any command.
        """
        self._rate.take(caller.claims.sub)
        message_id = str(uuid.uuid4())
        try:
            envelope = await self._forge(forgery, order, caller, message_id, text)
        except RpcRefusedError as refusal:
            if refusal.code != "invalid_target":
                raise
            return Tried(
                sent=None,
                stopped_by=USER_SERVICE,
                code=refusal.code,
                detail=refusal.detail,
                journey=None,
            )
        if forgery is Forgery.REVOKED:
            await self._revoke(caller)
        with self._hub.expect(caller.claims.sub) as expected:
            mark = Mark(expected.stream, message_id, int(self._clock() * 1000))
            await self._publisher.publish(
                self._addressed(envelope, mark, caller), deadline=self._deadline
            )
            journey = None
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT):
                    journey = await expected.report
        refused = journey is not None and journey.outcome == "refused"
        return Tried(
            sent=_readable(envelope),
            stopped_by=ORDER_SERVICE if refused else None,
            code=None if journey is None else journey.code,
            detail=None if journey is None else journey.detail,
            journey=journey,
        )

    async def _forge(
        self,
        forgery: Forgery,
        order: PlaceOrder,
        caller: Caller,
        message_id: str,
        text: str | None,
    ) -> Envelope:
        carnet = await self._carnet(caller)
        match forgery:
            case Forgery.BODY:
                genuine = self._sealed(order, carnet, message_id)
                changed = (text or "").encode() or _a_thousandfold(order).to_body()
                return replace(genuine, body=changed)
            case Forgery.MOVED:
                # One command's carnet and seal, on another command.
                seal = self._sealed(order, carnet, message_id).headers[CARNET_SEAL]
                other = CancelOrder(order_id=message_id)
                return Envelope(other.route, other.to_body(), sealed_headers(seal, carnet))
            case Forgery.AUDIENCE:
                elsewhere = await self._carnet(caller, audience=NOBODY)
                return self._sealed(order, elsewhere, message_id)
            case Forgery.EXPIRED:
                return self._sealed(order, carnet, message_id, ago=STALE)
            case Forgery.KEY:
                stranger = Sealer(GATEWAY, SigningKey.generate())
                return self._sealed(order, carnet, message_id, sealer=stranger)
            case Forgery.REVOKED | Forgery.NONE:
                return self._sealed(order, carnet, message_id)

    async def _carnet(self, caller: Caller, *, audience: str = ORDER_SERVICE) -> str:
        scopes = frozenset({ORDERS_WRITE if audience == ORDER_SERVICE else ORDERS_READ})
        return await self._carnets.carnet(caller, audience=audience, scopes=scopes)

    def _sealed(
        self,
        command: Command,
        carnet: str,
        message_id: str,
        *,
        ago: float = 0.0,
        sealer: Sealer | None = None,
    ) -> Envelope:
        """The command as the gateway seals it; `ago`: seconds since it was no longer wanted."""
        body, now = command.to_body(), self._clock()
        seal = (sealer or self._sealer).command(
            route=command.route,
            audience=ORDER_SERVICE,
            message_id=message_id,
            body=body,
            carnet=carnet,
            now=now - 2 * ago,
            expires_at=now - ago if ago else now + PATIENCE.total_seconds(),
        )
        return Envelope.sealed(command.route, body, seal=seal, carnet=carnet)

    def _addressed(self, envelope: Envelope, mark: Mark, caller: Caller) -> Envelope:
        shard = self._sharding.shard(about=mark.message, subject=caller.claims.sub)
        to_shard = {} if shard is None else {SHARD: str(shard)}
        return replace(envelope, headers={**envelope.headers, **to_shard, JOURNEY: str(mark)})

    async def _revoke(self, caller: Caller) -> None:
        """End the caller's session, and wait until that has come round to us."""
        session = caller.claims.sid
        if session is None:
            raise ProblemError(problems.INVALID_REQUEST, "Only a user's session can be ended.")
        ended = self._ending.setdefault(session, asyncio.Event())
        try:
            await self._rpc.call(
                SignOut(access_token=caller.token), responder=USER_SERVICE, deadline=self._deadline
            )
            async with asyncio.timeout(FEED):
                await ended.wait()
        except TimeoutError as error:
            raise ProblemError(
                problems.UPSTREAM_UNAVAILABLE, "The revocation did not come round in time."
            ) from error
        finally:
            self._ending.pop(session, None)


def _a_thousandfold(order: PlaceOrder) -> PlaceOrder:
    """The order with a thousand of what there was one of."""
    first, *rest = order.lines
    more = first.model_copy(update={"quantity": min(first.quantity * 1000, 10_000)})
    return order.model_copy(update={"lines": (more, *rest)})


def _readable(envelope: Envelope) -> Sent:
    carnet = envelope.headers[AUTHORIZATION].removeprefix(BEARER)
    return Sent(
        type=envelope.route.type,
        body=envelope.body.decode(errors="replace"),
        carnet=_told(carnet),
        seal=_told(envelope.headers[CARNET_SEAL]),
    )


def _told(token: str) -> TokenTold:
    decoded = decode_unverified(token)
    return TokenTold(header=decoded.unverified_header, claims=decoded.unverified_claims)
