"""The OAuth 2 token endpoint (RFC 6749 §3.2), whose errors have that RFC's own form."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from messaging.rpc import RpcRefusedError
from services.contracts.topology import USER_SERVICE
from services.contracts.users import ClientCredentials, Refresh, Tokens
from services.gateway import examples, problems
from services.gateway.documents import RPC, answer, problems_of
from services.gateway.faults import CHALLENGE, quotable, refused
from services.gateway.media import FORM, media_type
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.requests import TokenAnswer

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANTS: Final = ("refresh_token", "client_credentials")
NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_STATUS: Final = {
    "invalid_request": 400,
    "invalid_client": 401,
    "invalid_grant": 400,
    "unauthorized_client": 400,
    "unsupported_grant_type": 400,
    "invalid_scope": 400,
}
"""RFC 6749 §5.2."""

_MAX_LENGTHS: Final = {"refresh_token": 500, "client_assertion": 4000, "scope": 1000}

router = APIRouter(tags=["oauth"])


class OAuthError(Exception):
    """A refusal in the words of RFC 6749 §5.2."""

    def __init__(self, error: str, description: str, *, challenge: str = CHALLENGE) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.challenge = challenge


async def oauth_error(_request: Request, error: Exception) -> JSONResponse:
    """The answer to an `OAuthError`."""
    if not isinstance(error, OAuthError):
        raise error
    status = _STATUS[error.error]
    challenge = {"WWW-Authenticate": error.challenge} if error.error == "invalid_client" else {}
    return JSONResponse(
        {"error": error.error, "error_description": quotable(error.description)},
        status_code=status,
        headers={**NO_STORE, **challenge},
    )


def _errors(*codes: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/OAuthError"}
    examples = {code: {"value": {"error": code, "error_description": "…"}} for code in codes}
    return {"content": {"application/json": {"schema": schema, "examples": examples}}}


_REQUEST_BODY: Final = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": ["grant_type"],
                "properties": {
                    "grant_type": {"type": "string", "enum": list(GRANTS)},
                    "refresh_token": {"type": "string", "maxLength": 500},
                    "scope": {"type": "string", "maxLength": 1000},
                    "client_id": {"type": "string"},
                    "client_assertion_type": {"type": "string", "enum": [ASSERTION]},
                    "client_assertion": {"type": "string", "maxLength": 4000},
                },
            },
            "examples": {
                "refresh_token": {
                    "value": {"grant_type": "refresh_token", "refresh_token": "vF9d…"}
                },
                "client_credentials": {
                    "value": {
                        "grant_type": "client_credentials",
                        "client_assertion_type": ASSERTION,
                        "client_assertion": "eyJhbGc…",
                    }
                },
            },
        }
    },
}


@router.post(
    "/oauth/token",
    operation_id="token",
    summary="Token",
    response_model=TokenAnswer,
    responses={
        **answer(200, "Tokens.", examples.TOKENS),
        **problems_of(problems.REQUEST_TIMEOUT, problems.BODY_TOO_LARGE, *RPC),
        400: {
            "description": "The request or the grant is not valid (RFC 6749 §5.2).",
            **_errors(*(code for code, status in _STATUS.items() if status == 400)),  # noqa: PLR2004
        },
        401: {
            "description": "The client is not who it says (RFC 6749 §5.2).",
            **_errors("invalid_client"),
        },
    },
    openapi_extra={"requestBody": _REQUEST_BODY},
)
async def token(
    request: Request, parts: Annotated[GatewayParts, Depends(parts_of)]
) -> JSONResponse:
    """Refresh a session's tokens, or get a service's own by a signed assertion (RFC 7523 §2.2).

    The assertion is a JWT of the type `client-authentication+jwt`, signed with the client's own
    key, with its client id as `iss` and `sub`, `user-service` as `aud`, and a new `jti` each time.
    """
    form = await _form(request)
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


async def _form(request: Request) -> dict[str, str]:
    """The form's fields; empty ones count as omitted (RFC 6749 §3.2)."""
    if (authorization := request.headers.get("authorization")) is not None:
        # "the authorization server MUST respond with an HTTP 401 status code and include the
        # "WWW-Authenticate" response header field matching the authentication scheme used"
        scheme = quotable(authorization.partition(" ")[0])[:20] or "Basic"
        raise OAuthError(
            "invalid_client",
            "clients authenticate by private_key_jwt",
            challenge=f'{scheme if scheme.isalnum() else "Basic"} realm="carnet"',
        )
    if media_type(request) != FORM:
        raise OAuthError("invalid_request", f"send the parameters as {FORM}")
    fields: dict[str, str] = {}
    for name, value in (await request.form()).multi_items():
        if not isinstance(value, str) or name in fields:
            raise OAuthError("invalid_request", "a parameter is there more than once")
        if len(value) > _MAX_LENGTHS.get(name, len(value)):
            raise OAuthError("invalid_request", f"{quotable(name)} is too long")
        fields[name] = value
    return {name: value for name, value in fields.items() if value}


async def _refresh(parts: GatewayParts, form: dict[str, str]) -> Tokens:
    if "client_secret" in form or "client_assertion" in form:
        raise OAuthError("invalid_client", "sessions are the gateway's own: send no credentials")
    if "refresh_token" not in form:
        raise OAuthError("invalid_request", "refresh_token is missing")
    return await _ask(parts, Refresh(refresh_token=form["refresh_token"], scope=form.get("scope")))


async def _client_credentials(parts: GatewayParts, form: dict[str, str]) -> Tokens:
    if form.get("client_assertion_type") != ASSERTION or "client_assertion" not in form:
        raise OAuthError("invalid_client", "clients authenticate by private_key_jwt")
    tokens = await _ask(
        parts,
        ClientCredentials(client_assertion=form["client_assertion"], scope=form.get("scope")),
    )
    client_id = parts.verifier.access_token(tokens.access_token, now=parts.clock()).client_id
    if form.get("client_id", client_id) != client_id:
        # "the value of the "client_id" parameter [...] MUST identify the same client as is
        # identified by the client assertion" (RFC 7521 §4.2)
        raise OAuthError("invalid_client", "client_id and client_assertion differ")
    return tokens


async def _ask(parts: GatewayParts, request: Refresh | ClientCredentials) -> Tokens:
    try:
        return await parts.rpc.call(
            request, responder=USER_SERVICE, deadline=parts.options.rpc_deadline
        )
    except RpcRefusedError as error:
        if error.code not in _STATUS:
            raise refused(error) from error
        raise OAuthError(error.code, error.detail) from error
