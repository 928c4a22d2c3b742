"""What others need to know to trust the issuer's tokens, and whether the gateway serves."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from auth.keys import ALLOWED_ALGORITHMS
from services.declared import Declared
from services.gateway import examples
from services.gateway.bearer import SCOPES
from services.gateway.documents import answer, problems_of
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.routes import authorize, device
from services.gateway.routes.token import GRANTS
from services.web import problems
from services.web.faults import RETRY_AFTER
from services.web.problems import ProblemError

JWK_SET: Final = "application/jwk-set+json"
MAX_AGE: Final = 30
"""Seconds. A key is listed at least that long before it signs, so a cached set has it."""
CACHED: Final = {"Cache-Control": f"public, max-age={MAX_AGE}"}

Parts = Annotated[GatewayParts, Depends(parts_of)]

router = APIRouter()


class JwkSetResponse(JSONResponse):
    media_type = JWK_SET


class Metadata(BaseModel):
    """An authorization server's metadata (RFC 8414 §2)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    device_authorization_endpoint: str
    jwks_uri: str
    scopes_supported: list[str]
    response_types_supported: list[str]
    response_modes_supported: list[str]
    code_challenge_methods_supported: list[str]
    authorization_response_iss_parameter_supported: bool
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    token_endpoint_auth_signing_alg_values_supported: list[str]
    revocation_endpoint: str
    revocation_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_signing_alg_values_supported: list[str]
    introspection_endpoint: str
    introspection_endpoint_auth_methods_supported: list[str]
    introspection_endpoint_auth_signing_alg_values_supported: list[str]


class Health(BaseModel):
    """That all is well; each of the checks holds."""

    status: str
    checks: dict[str, bool] = Field(default_factory=dict)


def of_server(url: str, declared: Declared = ()) -> dict[str, Any]:
    """The metadata of the gateway that is reached at `url`, which knows these services."""
    given = (scopes for each in declared for scopes in each.roles.values())
    algorithms = sorted(ALLOWED_ALGORITHMS)
    return {
        "issuer": url,
        "authorization_endpoint": f"{url}{authorize.PATH}",
        "token_endpoint": f"{url}/oauth/token",
        "device_authorization_endpoint": f"{url}{device.ENDPOINT}",
        "jwks_uri": f"{url}/.well-known/jwks.json",
        "scopes_supported": sorted({*SCOPES}.union(*given)),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "grant_types_supported": list(GRANTS),
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint": f"{url}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint": f"{url}/oauth/introspect",
        # "or those registered in the IANA "OAuth Access Token Types" registry" (RFC 8414 §2)
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt", "Bearer"],
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
    }


@router.get(
    "/.well-known/jwks.json",
    operation_id="jwks",
    summary="The issuer's public keys",
    tags=["discovery"],
    response_class=JwkSetResponse,
    responses={
        **problems_of(),
        200: {
            "description": "A JWK set (RFC 7517 §5): the issuer's next, active and retired keys.",
            "content": {
                JWK_SET: {
                    "schema": {"$ref": "#/components/schemas/JwkSet"},
                    "example": examples.JWK_SET,
                }
            },
        },
    },
)
async def jwks(parts: Parts) -> JwkSetResponse:
    """The keys that access tokens are signed with."""
    return JwkSetResponse(parts.trust.key_set.jwks(), headers=CACHED)


@router.get(
    "/.well-known/oauth-authorization-server",
    operation_id="metadata",
    summary="OAuth 2 metadata",
    tags=["discovery"],
    responses={
        **answer(200, "The metadata.", of_server("https://carnet.example")),
        **problems_of(),
    },
)
async def metadata(parts: Parts, response: Response) -> Metadata:
    """What the OAuth 2 endpoints can do (RFC 8414 §2)."""
    response.headers.update(CACHED)
    return Metadata.model_validate(of_server(parts.options.public_url, parts.options.declared))


@router.get(
    "/health/live",
    operation_id="live",
    summary="Is the process alive?",
    tags=["health"],
    responses={**answer(200, "It is.", {"status": "live", "checks": {}}), **problems_of()},
)
async def live() -> Health:
    """The process turns."""
    return Health(status="live")


@router.get(
    "/health/ready",
    operation_id="ready",
    summary="Does it serve?",
    tags=["health"],
    responses={
        **answer(200, "It does.", {"status": "ready", "checks": {"broker": True}}),
        **problems_of(problems.NOT_READY),
    },
)
async def ready(parts: Parts) -> Health:
    """Each of the gateway's checks holds, now."""
    verdicts = {name: check() for name, check in parts.checks.items()}
    if not all(verdicts.values()):
        failing = ", ".join(name for name, holds in verdicts.items() if not holds)
        raise ProblemError(
            problems.NOT_READY, f"Not ready: {failing}.", headers=RETRY_AFTER, checks=verdicts
        )
    return Health(status="ready", checks=verdicts)
