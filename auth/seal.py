"""The seal: what binds a carnet, a body and a route into one message of one client."""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Final, Literal

from pydantic import Field

from auth.claims import ClientId, Digest, Name, NumericDate, Subject
from auth.jws import SEAL, Claims, sign_token
from auth.keys import SigningKey
from auth.message import Route
from auth.strict import encode_base64url

Kind = Literal["cmd", "evt", "req", "rep"]
MessageId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")]

MAX_EVENT_AGE: Final = 7 * 24 * 3600
MAX_REQUEST_AGE: Final = 120


def digest(data: bytes) -> str:
    """Base64url SHA-256, as `ath` and `bh` carry it."""
    return encode_base64url(hashlib.sha256(data).digest())


class SealClaims(Claims):
    """Claims of a seal; docs/wire-contract.md has the table of which kind carries which.

    k: cmd, evt, req or rep.   iss: client id of the publisher.   aud: receiving service.
    jti: the message's own id, the same over all retries.
    iat: when the publisher accepted the work.   exp: when the work stops being wanted.
    nbf: never written; heeded where another implementation writes it (RFC 7519 §4.1.5).
    ath: hash of the carnet.   bh: hash of the body.   ex, rk, ty: the route.
    sub, cause: whose act an event records, and the `jti` of the message that caused it.
    rt: a request's `reply_to`.   re: `jti` of the request that a reply answers.
    """

    k: Kind
    iss: ClientId
    aud: ClientId | None = None
    jti: MessageId
    iat: NumericDate
    exp: NumericDate
    nbf: NumericDate | None = None
    ath: Digest | None = None
    bh: Digest
    ex: Name
    rk: Name
    ty: Name
    sub: Subject | None = None
    cause: MessageId | None = None
    rt: Name | None = None
    re: MessageId | None = None


class Sealer:
    """Seals messages in one client's name, with one key."""

    def __init__(self, client_id: str, key: SigningKey) -> None:
        self.client_id = client_id
        self._key = key

    def signing_key(self) -> SigningKey:
        """The key to seal with now; a sealer whose keys rotate chooses it here."""
        return self._key

    def command(
        self,
        *,
        route: Route,
        audience: str,
        message_id: str,
        body: bytes,
        carnet: str | None,
        now: float,
        expires_at: float,
    ) -> str:
        """Seal a command. `now`: when the work was accepted, or accepted again by a repeat."""
        return self._seal(
            "cmd",
            route,
            body,
            aud=audience,
            jti=message_id,
            iat=now,
            exp=expires_at,
            ath=None if carnet is None else digest(carnet.encode()),
        )

    def request(
        self,
        *,
        route: Route,
        audience: str,
        message_id: str,
        body: bytes,
        reply_to: str,
        carnet: str | None,
        now: float,
        expires_at: float,
    ) -> str:
        """Seal an RPC request, whose answer goes to `reply_to` and nowhere else."""
        return self._seal(
            "req",
            route,
            body,
            aud=audience,
            jti=message_id,
            iat=now,
            exp=expires_at,
            ath=None if carnet is None else digest(carnet.encode()),
            rt=reply_to,
        )

    def reply(
        self,
        *,
        route: Route,
        audience: str,
        message_id: str,
        body: bytes,
        request_id: str,
        now: float,
        expires_at: float,
    ) -> str:
        """Seal the reply to the request whose seal had the `jti` `request_id`."""
        return self._seal(
            "rep",
            route,
            body,
            aud=audience,
            jti=message_id,
            iat=now,
            exp=expires_at,
            re=request_id,
        )

    def event(
        self,
        *,
        route: Route,
        message_id: str,
        body: bytes,
        subject: str,
        cause: str,
        now: float,
        expires_at: float,
    ) -> str:
        """Seal an event that records an act of `subject`, caused by the message `cause`."""
        return self._seal(
            "evt",
            route,
            body,
            jti=message_id,
            iat=now,
            exp=expires_at,
            sub=subject,
            cause=cause,
        )

    def _seal(
        self, kind: Kind, route: Route, body: bytes, *, iat: float, exp: float, **claims: str | None
    ) -> str:
        return sign_token(
            SealClaims.model_validate(
                {
                    "k": kind,
                    "iss": self.client_id,
                    # Both rounded up: the message counts for as long as was asked, and a life
                    # of the longest that is allowed never becomes a second longer.
                    "iat": math.ceil(iat),
                    "exp": math.ceil(exp),
                    "bh": digest(body),
                    "ex": route.exchange,
                    "rk": route.routing_key,
                    "ty": route.type,
                    **claims,
                }
            ),
            typ=SEAL,
            key=self.signing_key(),
        )
