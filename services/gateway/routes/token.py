"""The OAuth 2 token endpoint (RFC 6749 §3.2)."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from messaging.contract import Request as Question
from services.contracts.authorization import RedeemCode, RedeemDevice
from services.contracts.users import ClientCredentials, Exchange, Refresh, Tokens
from services.gateway import examples
from services.gateway.documents import RPC, answer, problems_of
from services.gateway.oauth import ASSERTION, OAuthForm, ask, body_of, refuse_header
from services.gateway.oauth_errors import NO_STORE, OAuthError, errors_of
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.requests import TokenAnswer
from services.web import problems

CODE: Final = "authorization_code"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
GRANTS: Final = (CODE, "refresh_token", "client_credentials", DEVICE, EXCHANGE)

ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type
JWT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"

_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")

_BODY: Final = body_of(
    {
        "grant_type": {"type": "string", "enum": list(GRANTS)},
        "code": {"type": "string", "maxLength": 200},
        "redirect_uri": {"type": "string", "maxLength": 500},
        "code_verifier": {"type": "string", "pattern": f"^{_VERIFIER.pattern}$"},
        "device_code": {"type": "string", "maxLength": 200},
        "subject_token": {"type": "string", "maxLength": 8000},
        "subject_token_type": {"type": "string", "enum": [ACCESS_TOKEN_TYPE]},
        "requested_token_type": {"type": "string", "enum": [JWT_TYPE]},
        "audience": {"type": "string", "maxLength": 200},
        "refresh_token": {"type": "string", "maxLength": 500},
        "scope": {"type": "string", "maxLength": 1000},
    },
    required=["grant_type"],
    examples={
        "authorization_code": {
            "grant_type": CODE,
            "client_id": "app:notes",
            "code": "pQ3x…",
            "redirect_uri": "https://notes.example/callback",
            "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        },
        "refresh_token": {"grant_type": "refresh_token", "refresh_token": "vF9d…"},
        "device_code": {
            "grant_type": DEVICE,
            "client_id": "app:carnet-cli",
            "device_code": "GmRh…",
        },
        "token exchange": {
            "grant_type": EXCHANGE,
            "subject_token": "eyJhbGc…",
            "subject_token_type": ACCESS_TOKEN_TYPE,
            "audience": "order-service",
            "client_assertion_type": ASSERTION,
            "client_assertion": "eyJhbGc…",
        },
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
        **answer(200, "Tokens; of an exchange, the carnet in their place.", examples.TOKENS),
        **problems_of(problems.REQUEST_TIMEOUT, problems.BODY_TOO_LARGE, *RPC),
        **errors_of(
            "invalid_request",
            "invalid_client",
            "invalid_grant",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_scope",
            "invalid_target",
            "authorization_pending",
            "slow_down",
            "access_denied",
            "expired_token",
        ),
    },
    openapi_extra={"requestBody": _BODY},
)
async def token(
    request: Request, parts: Annotated[GatewayParts, Depends(parts_of)]
) -> JSONResponse:
    """Tokens for a code, a refresh token, a device code, an assertion, or another token.

    Public clients say which one they are by `client_id`. Services prove it by an assertion (RFC
    7523 §2.2): a JWT signed with the client's own key, which its `kid` names, with its client id
    as `iss` and `sub`, a new `jti` each time, and as `aud` the metadata's issuer, the token
    endpoint's address, or `user-service`; its `typ` is `client-authentication+jwt`, `JWT` or
    absent, and it counts for five minutes. Token exchange (RFC 8693) gives a service a carnet,
    which is no bearer token (`token_type` is `N_A`): it is worth something with a seal alone.
    """
    refuse_header(request)
    form = await OAuthForm.read(request)
    grant = form.need("grant_type")
    if grant == EXCHANGE:
        return await _exchange(parts, form)
    if grant not in _QUESTIONS:
        raise OAuthError("unsupported_grant_type", f"known grants: {', '.join(GRANTS)}")
    tokens = await ask(parts, _QUESTIONS[grant](parts, form))
    answer = TokenAnswer.of(tokens).model_dump(mode="json", exclude_none=True)
    return JSONResponse(answer, headers=NO_STORE)


def _refresh(_parts: GatewayParts, form: OAuthForm) -> Question[Tokens]:
    return Refresh(
        client_id=form.public_client(),
        refresh_token=form.need("refresh_token"),
        scope=form.get("scope"),
    )


def _code(_parts: GatewayParts, form: OAuthForm) -> Question[Tokens]:
    client_id, verifier = form.need_public_client(), form.need("code_verifier")
    if _VERIFIER.fullmatch(verifier) is None:
        raise OAuthError("invalid_request", "the code_verifier has another form (RFC 7636 §4.1)")
    return RedeemCode(
        client_id=client_id,
        code=form.need("code"),
        redirect_uri=form.get("redirect_uri"),
        code_verifier=verifier,
    )


def _device(_parts: GatewayParts, form: OAuthForm) -> Question[Tokens]:
    return RedeemDevice(client_id=form.need_public_client(), device_code=form.need("device_code"))


async def _exchange(parts: GatewayParts, form: OAuthForm) -> JSONResponse:
    """A carnet for a service that proves itself (RFC 8693 §2)."""
    question = Exchange(
        client_assertion=_proof(form),
        audiences=parts.options.audiences,
        subject_token=form.need("subject_token"),
        audience=form.need("audience"),
        scope=form.get("scope"),
    )
    if form.need("subject_token_type") != ACCESS_TOKEN_TYPE or form.get("actor_token"):
        raise OAuthError("invalid_request", "an access token alone is exchanged")
    if form.get("requested_token_type") not in {None, JWT_TYPE}:
        raise OAuthError("invalid_request", f"what is given is a {JWT_TYPE}")
    try:
        exchanged = await ask(parts, question)
    except OAuthError as error:
        if error.error != "invalid_grant":
            raise
        # "if either the subject_token or actor_token are invalid [...] The value of the "error"
        # parameter MUST be the "invalid_request" error code" (RFC 8693 §2.2.2)
        raise OAuthError("invalid_request", error.description) from error
    answer = {
        "access_token": exchanged.carnet,
        "issued_token_type": JWT_TYPE,
        "token_type": "N_A",
        "expires_in": exchanged.expires_in,
        "scope": exchanged.scope,
    }
    return JSONResponse(answer, headers=NO_STORE)


def _proof(form: OAuthForm) -> str:
    assertion = form.assertion()
    if assertion is None:
        raise OAuthError("invalid_client", "clients authenticate by private_key_jwt")
    return assertion


def _client_credentials(parts: GatewayParts, form: OAuthForm) -> Question[Tokens]:
    return ClientCredentials(
        client_assertion=_proof(form),
        audiences=parts.options.audiences,
        scope=form.get("scope"),
    )


_QUESTIONS: Final[Mapping[str, Callable[[GatewayParts, OAuthForm], Question[Tokens]]]] = {
    CODE: _code,
    "refresh_token": _refresh,
    "client_credentials": _client_credentials,
    DEVICE: _device,
}
