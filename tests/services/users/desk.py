"""An operator at her desk, who has signed in."""

from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel

from auth.jws import parse_claims
from auth.strict import parse_token
from auth.tokens import AccessClaims, Issuer
from messaging.contract import Request
from messaging.rpc import Refused
from services.contracts.scopes import OPERATOR
from services.contracts.topology import GATEWAY, OPERATOR_DESK
from services.contracts.users import Tokens
from services.users.app import user_service
from tests.services.users.realm import PASSWORD, Users, as_client

R = TypeVar("R", bound=BaseModel)

NOBODY = "00000000-0000-4000-8000-000000000000"
T = "is filled in"
"""In the place of the operator's access token."""


@dataclass
class Desk:
    """Grace, an operator who has signed in at her desk, and Ada, who has through the gateway."""

    users: Users
    token: str
    ada: Tokens

    async def ask(self, request: Request[R], *, client: str = OPERATOR_DESK) -> R:
        """What the service answers as it is registered, in her name."""
        service = user_service(self.users.handlers, self.users.administration)
        (run,) = [each.run for each in service.handlers if each.contract is type(request)]
        asked = request.model_copy(update={"access_token": self.token})
        return await run(asked, as_client(client))  # type: ignore[return-value]  # as it says

    async def refusal(self, request: Request[Any], *, client: str = OPERATOR_DESK) -> str:
        with pytest.raises(Refused) as refusal:
            await self.ask(request, client=client)
        return refusal.value.code

    @property
    def claims(self) -> AccessClaims:
        return claims(self.token)

    async def signs(self, scopes: frozenset[str], **changed: Any) -> str:
        """A genuine access token of hers with these scopes."""
        issuer, now = await self.users.handlers.keys.issuer(), self.users.clock()
        return access_token_of(issuer, self.claims, scopes, now, **changed)

    async def last(self) -> dict[str, Any]:
        return (await self.users.log())[-1]


def claims(access_token: str) -> AccessClaims:
    return parse_claims(parse_token(access_token), AccessClaims)


def sid_of(tokens: Tokens) -> str:
    return claims(tokens.access_token).sid or ""


def access_token_of(
    issuer: Issuer, access: AccessClaims, scopes: frozenset[str], now: float, **changed: Any
) -> str:
    usual: dict[str, Any] = {
        "subject": access.sub,
        "audience": GATEWAY,
        "client_id": OPERATOR_DESK,
        "session": access.sid,
        "epoch": access.epoch,
        "auth_time": access.auth_time,
    }
    return issuer.access_token(scopes=scopes, now=now, **(usual | changed))


async def open_desk(users: Users) -> Desk:
    ada = await users.sign_in()
    await users.parts.accounts.add(users.operator, "grace", PASSWORD, [OPERATOR])
    return Desk(users, (await users.sign_in("grace", OPERATOR_DESK)).access_token, ada)
