"""Who calls: the access token of a request, taken, verified, and held to the route's scope."""

from collections.abc import Set as AbstractSet
from typing import Final

from fastapi import Request
from fastapi.openapi.models import (
    HTTPBearer,
    OAuth2,
    OAuthFlowAuthorizationCode,
    OAuthFlowClientCredentials,
    OAuthFlows,
)
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from auth.errors import RefusalError
from auth.tokens import AccessClaims
from services.contracts import scopes
from services.gateway import problems
from services.gateway.carnets import Caller
from services.gateway.faults import CHALLENGE, quotable
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.problems import ProblemError

SCOPES: Final = {
    scopes.ORDERS_READ: "See one's own orders and order events.",
    scopes.ORDERS_WRITE: "Place and cancel one's own orders.",
    scopes.ORDERS_READ_ALL: "See everyone's orders.",
    scopes.ORDERS_WRITE_ALL: "Cancel anyone's orders.",
    scopes.TOKENS_INTROSPECT: "Be told what any token is.",
    scopes.DEAD_LETTERS_RELEASE: "Have refused messages taken after all.",
}

OAUTH2: Final = OAuth2(
    description="For services: an access token for a signed assertion (RFC 7523 §2.2). For apps: "
    "an authorization code with PKCE (RFC 7636).",
    flows=OAuthFlows(
        authorizationCode=OAuthFlowAuthorizationCode(
            authorizationUrl="/oauth/authorize",
            tokenUrl="/oauth/token",
            refreshUrl="/oauth/token",
            scopes=SCOPES,
        ),
        clientCredentials=OAuthFlowClientCredentials(tokenUrl="/oauth/token", scopes=SCOPES),
    ),
)
"""The other way to the same token; `openapi` writes it beside the first."""


class _AccessToken(SecurityBase):
    """The dependency that is the caller: one, since each costs every request its time."""

    def __init__(self) -> None:
        self.scheme_name = "bearer"
        self.model = HTTPBearer(
            bearerFormat="at+jwt (RFC 9068)",
            description="An access token in the `Authorization` header (RFC 6750 §2.1), "
            "nowhere else.",
        )

    async def __call__(self, request: Request, required: SecurityScopes) -> Caller:
        """The caller of a request whose access token carries the route's scopes.

        Raises:
            ProblemError: 400, 401 or 403, each with its challenge (RFC 6750 §3).
            TrustUnavailableError: nothing can be judged at present.
        """
        return admit(request, await parts_of(request), set(required.scopes))


caller: Final = _AccessToken()


def admit(request: Request, parts: GatewayParts, required: AbstractSet[str]) -> Caller:
    """The caller of a request whose access token carries the scopes.

    Raises:
        ProblemError, TrustUnavailableError: as `caller`.
    """
    unverified_token = _take(request)
    claims = judge(parts, unverified_token)
    if missing := required - claims.scopes:
        raise lacking(missing)
    return Caller(unverified_token, claims)


def judge(parts: GatewayParts, unverified_token: str) -> AccessClaims:
    """The claims of an access token, as of now.

    Raises:
        ProblemError: 401, with the code of the refusal.
        TrustUnavailableError: nothing can be judged at present.
    """
    try:
        return parts.verifier.access_token(unverified_token, now=parts.clock())
    except RefusalError as refusal:
        raise ProblemError(
            problems.token_refused(refusal.code),
            f"The access token is refused: {refusal.detail}.",
            headers=_challenge("invalid_token", refusal.detail),
        ) from refusal


def lacking(missing: AbstractSet[str]) -> ProblemError:
    """403: genuine, and without the scopes that are needed."""
    wanted = " ".join(sorted(missing))
    return ProblemError(
        problems.INSUFFICIENT_SCOPE,
        f"The access token lacks: {wanted}.",
        headers=_challenge("insufficient_scope", f"lacks {wanted}", scope=wanted),
    )


def _take(request: Request) -> str:
    """The one access token of a request, from the one place where it may be."""
    if request.scope["query_string"] and "access_token" in request.query_params:
        raise ProblemError(
            problems.TOKEN_IN_QUERY,
            "Addresses are logged and kept: send the token in the Authorization header, "
            "and consider the one that was sent here as lost.",
            headers=_challenge("invalid_request", "a token in the query"),
        )
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        # "Clients MUST NOT use more than one method to transmit the token" (RFC 6750 §2).
        raise ProblemError(
            problems.DUPLICATE_TOKEN,
            "There is more than one Authorization header.",
            headers=_challenge("invalid_request", "more than one Authorization header"),
        )
    scheme, _, unverified_token = headers[0].partition(" ") if headers else ("", "", "")
    if scheme.lower() != "bearer" or not unverified_token.strip():
        # No error code where the request has no credentials (RFC 6750 §3.1).
        raise ProblemError(
            problems.MISSING_TOKEN,
            "Send an access token: Authorization: Bearer …",
            headers={"WWW-Authenticate": CHALLENGE},
        )
    return unverified_token.strip()


def _challenge(error: str, description: str, *, scope: str | None = None) -> dict[str, str]:
    challenge = f'{CHALLENGE}, error="{error}", error_description="{quotable(description)}"'
    if scope is not None:
        challenge += f', scope="{scope}"'
    return {"WWW-Authenticate": challenge}
