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

from auth.tokens import AccessClaims
from services.contracts import scopes
from services.gateway.carnets import Caller
from services.gateway.parts import GatewayParts, parts_of
from services.web.bearer import judged, lacking, take_token

SCOPES: Final = {
    scopes.ORDERS_READ: "See one's own orders and order events.",
    scopes.ORDERS_WRITE: "Place and cancel one's own orders.",
    scopes.ORDERS_READ_ALL: "See everyone's orders.",
    scopes.ORDERS_WRITE_ALL: "Cancel anyone's orders.",
    scopes.TOKENS_INTROSPECT: "Be told what any token is.",
    scopes.DEAD_LETTERS_RELEASE: "Have refused messages taken after all.",
    scopes.OPERATIONS_READ: "See refused messages, accounts, sessions, keys and the audit log.",
    scopes.SESSIONS_REVOKE: "End anyone's sessions.",
    scopes.KEYS_ROTATE: "Change the issuer's keys.",
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
    unverified_token = take_token(request)
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
    return judged(parts.verifier, unverified_token, now=parts.clock())
