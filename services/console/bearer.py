"""Who asks: an operator who has signed in here, held to the scope of the route."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from auth.errors import Code
from auth.tokens import AccessClaims
from services.console.parts import ConsoleParts, parts_of
from services.contracts.topology import OPERATOR_DESK
from services.web import problems
from services.web.bearer import judged, lacking, take_token
from services.web.faults import CHALLENGE
from services.web.problems import ProblemError


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who has signed in here. `token` goes to the user service, and nowhere else."""

    token: str = field(repr=False)
    claims: AccessClaims

    async def access_token(self) -> str:
        """As the desk asks for it."""
        return self.token


class _AccessToken(SecurityBase):
    """The dependency that is the operator."""

    def __init__(self) -> None:
        self.scheme_name = "bearer"
        self.model = HTTPBearer(bearerFormat="at+jwt (RFC 9068)")

    async def __call__(self, request: Request, required: SecurityScopes) -> Operator:
        """The operator of a request whose access token carries the route's scopes.

        Raises:
            ProblemError: 400, 401 or 403, each with its challenge (RFC 6750 §3).
            TrustUnavailableError: nothing can be judged at present.
        """
        return admit(request, await parts_of(request), set(required.scopes))


operator: Final = _AccessToken()


def admit(request: Request, parts: ConsoleParts, required: AbstractSet[str]) -> Operator:
    """The operator of a request whose access token carries the scopes.

    A token that was issued to another client is refused, whatever it carries: who has the tokens of
    the shop's users has nothing for here.

    Raises:
        ProblemError, TrustUnavailableError: as `operator`.
    """
    unverified_token = take_token(request)
    claims = judged(parts.verifier, unverified_token, now=parts.clock())
    if claims.client_id != OPERATOR_DESK:
        raise ProblemError(
            problems.token_refused(Code.WRONG_CLIENT),
            "The access token was issued to another client: sign in here.",
            headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'},
        )
    if missing := required - claims.scopes:
        raise lacking(missing)
    return Operator(unverified_token, claims)
