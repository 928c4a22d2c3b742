"""The OAuth 2 token endpoint (RFC 6749 §3.2)."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from services.contracts.users import ClientCredentials, Refresh, Tokens
from services.gateway import examples, problems
from services.gateway.documents import RPC, answer, problems_of
from services.gateway.oauth import ASSERTION, OAuthForm, ask, body_of, refuse_header
from services.gateway.oauth_errors import NO_STORE, OAuthError, errors_of
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.requests import TokenAnswer

GRANTS: Final = ("refresh_token", "client_credentials")

_BODY: Final = body_of(
    {
        "grant_type": {"type": "string", "enum": list(GRANTS)},
        "refresh_token": {"type": "string", "maxLength": 500},
        "scope": {"type": "string", "maxLength": 1000},
    },
    required=["grant_type"],
    examples={
        "refresh_token": {"grant_type": "refresh_token", "refresh_token": "vF9d…"},
        "client_credentials": {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": "eyJhbGc…",
        },
    },
)

router = APIRouter(tags=["oauth"])


@router.post(
    "/oauth/token",
    operation_id="token",
    summary="Token",
    response_model=TokenAnswer,
    responses={
        **answer(200, "Tokens.", examples.TOKENS),
        **problems_of(problems.REQUEST_TIMEOUT, problems.BODY_TOO_LARGE, *RPC),
        **errors_of(
            "invalid_request",
            "invalid_client",
            "invalid_grant",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_scope",
        ),
    },
    openapi_extra={"requestBody": _BODY},
)
async def token(
    request: Request, parts: Annotated[GatewayParts, Depends(parts_of)]
) -> JSONResponse:
    """Refresh a session's tokens, or get a service's own by a signed assertion (RFC 7523 §2.2).

    The assertion is a JWT of the type `client-authentication+jwt`, signed with the client's own
    key, with its client id as `iss` and `sub`, a new `jti` each time, and as `aud` the metadata's
    issuer, the token endpoint's address, or `user-service`.
    """
    refuse_header(request)
    form = await OAuthForm.read(request)
    match form.get("grant_type"):
        case "refresh_token":
            tokens = await _refresh(parts, form)
        case "client_credentials":
            tokens = await _client_credentials(parts, form)
        case None:
            raise OAuthError("invalid_request", "grant_type is missing")
        case _:
            raise OAuthError("unsupported_grant_type", f"known grants: {', '.join(GRANTS)}")
    answer = TokenAnswer.of(tokens).model_dump(mode="json", exclude_none=True)
    return JSONResponse(answer, headers=NO_STORE)


async def _refresh(parts: GatewayParts, form: OAuthForm) -> Tokens:
    if form.assertion() is not None:
        raise OAuthError("invalid_client", "sessions are the gateway's own: send no credentials")
    refresh_token = form.need("refresh_token")
    return await ask(parts, Refresh(refresh_token=refresh_token, scope=form.get("scope")))


async def _client_credentials(parts: GatewayParts, form: OAuthForm) -> Tokens:
    assertion = form.assertion()
    if assertion is None:
        raise OAuthError("invalid_client", "clients authenticate by private_key_jwt")
    question = ClientCredentials(
        client_assertion=assertion,
        audiences=parts.options.audiences,
        scope=form.get("scope"),
    )
    return await ask(parts, question)
