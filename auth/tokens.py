"""The issuer's tokens: the access token for HTTP, and the carnet that travels with messages."""

from __future__ import annotations

import secrets
import sys
from functools import cached_property
from typing import Annotated, Final
from weakref import WeakValueDictionary

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from auth.claims import (
    ClientId,
    Name,
    NumericDate,
    PublicClientId,
    Scope,
    Subject,
    TokenId,
    is_public,
    join_scope,
    service_subject,
    split_scope,
)
from auth.jws import ACCESS_TOKEN, CARNET, Claims, sign_token
from auth.keys import SigningKey
from auth.policy import CARNET_LIFE
from auth.principal import Principal

MAX_ACCESS_LIFE: Final = 15 * 60
MAX_CARNET_LIFE: Final = int(CARNET_LIFE.total_seconds())
MAX_ACTORS: Final = 3

SessionId = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_-]{16,64}$")]
Epoch = Annotated[int, Field(strict=True, ge=0, le=2**31)]
FORM: Final = ConfigDict(extra="ignore")
"""What is not understood is ignored (RFC 7519 §4)."""
_Shared: Final = AfterValidator(sys.intern)
"""One object for all tokens that say the same."""


@dataclass(frozen=True, slots=True, kw_only=True, config=FORM)
class IssuedClaims:
    """What all tokens of the issuer say; each claim's type is strict, what is not known ignored.

    Verifiers remember many: a model has two dictionaries and a set, 2 KiB, in the place of slots.
    """

    iss: Annotated[Name, _Shared]
    sub: Subject
    iat: NumericDate
    exp: NumericDate
    nbf: NumericDate | None = None
    jti: TokenId
    scope: Annotated[Scope, _Shared]
    sid: Annotated[SessionId | None, Field(validate_default=True)] = None
    epoch: Epoch

    @field_validator("sid")
    @classmethod
    def _ends_with_a_session(cls, sid: str | None, others: ValidationInfo) -> str | None:
        """A user's token without one would outlive the end of the session that it came from."""
        if sid is None and not others.data.get("sub", "").startswith(service_subject("")):
            raise ValueError("a user's token names its session")
        return sid

    @property
    def scopes(self) -> frozenset[str]:
        return split_scope(self.scope)


@dataclass(frozen=True, slots=True, kw_only=True, config=FORM)
class AccessClaims(IssuedClaims):
    """An access token's claims (RFC 9068 §2.2). `aud` is one string: one receiver."""

    aud: Annotated[ClientId, _Shared]
    client_id: Annotated[ClientId | PublicClientId, _Shared]
    auth_time: NumericDate | None = None

    @field_validator("client_id")
    @classmethod
    def _public_with_a_session(cls, client_id: str, others: ValidationInfo) -> str:
        """A public client is in no statement, so nothing but a session's end ends its tokens."""
        if is_public(client_id) and others.data.get("sid") is None:
            raise ValueError("a public client's token names its session")
        return client_id

    @property
    def principal(self) -> Principal:
        return Principal(
            subject=self.sub,
            scopes=self.scopes,
            actors=(),
            session=self.sid,
            epoch=self.epoch,
            token_id=self.jti,
            expires_at=self.exp,
        )


class Actor(Claims):
    """Who acts for the subject, and for whom this one acted before (RFC 8693 §4.1)."""

    sub: ClientId
    act: Actor | None = None

    @cached_property
    def chain(self) -> tuple[str, ...]:
        return (self.sub, *(self.act.chain if self.act else ()))


_ACTORS: Final[WeakValueDictionary[tuple[str, ...], Actor]] = WeakValueDictionary()
"""By their chain: one for all tokens that say the same, as long as there is such a token."""


@dataclass(frozen=True, slots=True, kw_only=True, config=FORM)
class CarnetClaims(IssuedClaims):
    """A carnet's claims. `act.sub` is the one client that may seal with it."""

    aud: Annotated[ClientId, _Shared]
    act: Actor | None = None

    @field_validator("act")
    @classmethod
    def _bounded_chain(cls, act: Actor | None) -> Actor | None:
        if act is None:
            return None
        if len(act.chain) > MAX_ACTORS:
            raise ValueError("actors nested too deep")
        return _ACTORS.setdefault(act.chain, act)

    @property
    def actors(self) -> tuple[str, ...]:
        return self.act.chain if self.act else ()

    @property
    def principal(self) -> Principal:
        return Principal(
            subject=self.sub,
            scopes=self.scopes,
            actors=self.actors,
            session=self.sid,
            epoch=self.epoch,
            token_id=self.jti,
            expires_at=self.exp,
        )


def new_token_id() -> str:
    """An id that nobody can guess: 128 random bits."""
    return secrets.token_urlsafe(16)


class Issuer:
    """Signs what only the user service may say."""

    def __init__(self, name: str, key: SigningKey) -> None:
        self.name = name
        self._key = key

    def access_token(
        self,
        *,
        subject: str,
        audience: str,
        client_id: str,
        scopes: frozenset[str],
        session: str | None,
        epoch: int,
        auth_time: float | None,
        now: float,
        life: int = MAX_ACCESS_LIFE,
    ) -> str:
        """An access token for `audience`, asked for by `client_id`; `life` in seconds.

        Raises:
            ValueError: a user's without a session: nothing could end it alone.
        """
        claims = AccessClaims(
            iss=self.name,
            sub=subject,
            aud=audience,
            client_id=client_id,
            iat=int(now),
            exp=int(now) + min(life, MAX_ACCESS_LIFE),
            jti=new_token_id(),
            scope=join_scope(scopes),
            sid=session,
            epoch=epoch,
            auth_time=None if auth_time is None else int(auth_time),
        )
        return sign_token(claims, typ=ACCESS_TOKEN, key=self._key)

    def carnet(
        self,
        parent: AccessClaims | CarnetClaims,
        *,
        actor: str | None,
        audience: str,
        scopes: frozenset[str],
        now: float,
        life: int = MAX_CARNET_LIFE,
    ) -> str:
        """A carnet for one audience, derived from another token and never more than it.

        parent: an access token; or a carnet, whose receiver takes its work a hop further. The
            actors of that one stay named, behind the new one (RFC 8693 §4.1).
        actor: the client that will seal with it; None where the subject is that client.
        life: seconds; cut to 5 min and to the end of the parent.

        Raises:
            ValueError: `scopes` is not a subset of the parent's, the parent is expired (a carnet
                would be born dead), there would be too many actors, or nobody would be allowed
                to seal with the carnet.
        """
        if not scopes <= parent.scopes:
            raise ValueError("a carnet never carries more scope than its parent")
        if parent.exp <= int(now):
            raise ValueError("a carnet never outlives its parent, which is expired")
        before = parent.act if isinstance(parent, CarnetClaims) else None
        if actor is None and (before or not parent.sub.startswith(service_subject(""))):
            raise ValueError("a carnet of somebody else's names the client that may seal with it")
        claims = CarnetClaims(
            iss=self.name,
            sub=parent.sub,
            aud=audience,
            iat=int(now),
            exp=min(int(now) + min(life, MAX_CARNET_LIFE), parent.exp),
            jti=new_token_id(),
            scope=join_scope(scopes),
            sid=parent.sid,
            epoch=parent.epoch,
            act=None if actor is None else Actor(sub=actor, act=before),
        )
        return sign_token(claims, typ=CARNET, key=self._key)
