"""Commands on their way out: accepted once, sealed for the order service, and confirmed.

A command is accepted when the broker has confirmed it, never before. Until then the outcome is
unknown, and since its message id is derived from the idempotency key, it may be sent again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from auth.errors import AuthError
from auth.seal import Sealer
from messaging.contract import Command
from messaging.envelope import Envelope
from messaging.errors import MessagingError
from messaging.journeys import JOURNEY
from messaging.publisher import Publisher
from messaging.sharding import Sharding
from services.contracts.orders import PATIENCE
from services.contracts.topology import ORDER_SERVICE
from services.gateway.carnets import Caller, Carnets
from services.gateway.idempotency import (
    IdempotencyKeys,
    KeyReusedError,
    message_id_of,
    request_hash_of,
)
from services.gateway.journeys import Marks
from services.web import problems
from services.web.faults import problem_of
from services.web.problems import ProblemError

KEY_HEADER: Final = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Wish:
    """A command that a caller wants done, and the request that it came with.

    key: the idempotency key, the client's or one that was made for it.
    order_id: the order concerned; None where it is the one that the command places.
    receiver: the service that it is for.   patience: how long it may wait for that.
    journey: what the client asks with to see the command travel (`services.gateway.journeys`).
    """

    command: Command
    caller: Caller
    scopes: frozenset[str]
    key: str
    method: str
    path: str
    order_id: str | None = None
    receiver: str = ORDER_SERVICE
    patience: timedelta = PATIENCE
    journey: str | None = None

    @property
    def about(self) -> str:
        """What an answer calls the id that it names."""
        return "order_id" if self.receiver == ORDER_SERVICE else "id"


class Commands:
    """Hands commands to the broker, in the gateway's name and on behalf of a user."""

    def __init__(
        self,
        *,
        sealer: Sealer,
        publisher: Publisher,
        carnets: Carnets,
        keys: IdempotencyKeys,
        clock: Callable[[], float],
        deadline: float,
        sharding: Sharding,
    ) -> None:
        """`deadline`: seconds for the broker to confirm."""
        self._sealer = sealer
        self._publisher = publisher
        self._carnets = carnets
        self._keys = keys
        self._clock = clock
        self._deadline = deadline
        self._sharding = sharding
        self._marks = Marks()

    async def accept(self, wish: Wish) -> str:
        """Return the id of the order concerned once the broker holds the command.

        Raises:
            ProblemError: it was not accepted, or that is not known. Names the order and the
                key to repeat the request with.
        """
        message_id = message_id_of(self._sealer.client_id, wish.caller.claims.sub, wish.key)
        order_id = wish.order_id or message_id
        try:
            await self._hand_over(wish, message_id)
        except (MessagingError, AuthError, KeyReusedError) as error:
            problem = _problem(error)
            if problem is None:
                raise
            raise problem.adding(
                {KEY_HEADER: wish.key}, **{wish.about: order_id}, idempotency_key=wish.key
            ) from error
        return order_id

    async def _hand_over(self, wish: Wish, message_id: str) -> None:
        route, body = wish.command.route, wish.command.to_body()
        await self._keys.claim(
            wish.caller.claims.sub,
            wish.key,
            request_hash_of(wish.method, wish.path, body),
            message_id,
        )
        carnet = await self._carnets.carnet(wish.caller, audience=wish.receiver, scopes=wish.scopes)
        # A repeat is sealed anew, now: its carnet is a new one, and none may be younger than
        # the seal that it goes with. The message id is what makes it the same message.
        now = self._clock()
        seal = self._sealer.command(
            route=route,
            audience=wish.receiver,
            message_id=message_id,
            body=body,
            carnet=carnet,
            now=now,
            expires_at=now + wish.patience.total_seconds(),
        )
        shard = None
        if wish.receiver == ORDER_SERVICE:
            about = wish.command.concerns(message_id) or message_id
            shard = self._sharding.shard(about=about, subject=wish.caller.claims.sub)
        envelope = Envelope.sealed(route, body, seal=seal, carnet=carnet, shard=shard)
        subject = wish.caller.claims.sub
        if mark := self._marks.of(wish.journey, subject=subject, now=now):
            envelope = replace(envelope, headers={**envelope.headers, JOURNEY: str(mark)})
        await self._publisher.publish(envelope, deadline=self._deadline)


def _problem(error: Exception) -> ProblemError | None:
    if isinstance(error, KeyReusedError):
        return ProblemError(
            problems.IDEMPOTENCY_KEY_REUSED,
            "This Idempotency-Key was sent with another request: take a new one for this.",
        )
    return problem_of(error)
