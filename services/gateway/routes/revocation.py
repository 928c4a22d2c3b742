"""The revocation endpoint (RFC 7009): a client says that a token is wanted no more."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from services.contracts.users import RevokeToken
from services.gateway.documents import RPC, Responses, problems_of
from services.gateway.oauth import ASSERTION, OAuthForm, ask, body_of, refuse_header
from services.gateway.oauth_errors import NO_STORE, errors_of
from services.gateway.parts import GatewayParts, parts_of
from services.web import problems

HINTS: Final = ("access_token", "refresh_token")

_BODY: Final = body_of(
    {
        "token": {"type": "string", "minLength": 1},
        "token_type_hint": {"type": "string", "maxLength": 100, "examples": list(HINTS)},
    },
    required=["token"],
    examples={
        "a session's own": {"token": "vF9d…", "token_type_hint": "refresh_token"},
        "a client's": {
            "token": "vF9d…",
            "client_assertion_type": ASSERTION,
            "client_assertion": "eyJhbGc…",
        },
    },
)
_DONE: Final[Responses] = {
    200: {
        "description": "The token's session is ended, within moments at every gateway and service; "
        "or there was nothing to end: the token is unknown, or a carnet without its client's proof."
    }
}

router = APIRouter(tags=["oauth"])


@router.post(
    "/oauth/revoke",
    operation_id="revoke",
    summary="Revoke a token",
    response_class=Response,
    responses={
        **_DONE,
        **problems_of(problems.REQUEST_TIMEOUT, problems.BODY_TOO_LARGE, *RPC),
        **errors_of(
            "invalid_request", "unauthorized_client", "unsupported_token_type", "invalid_client"
        ),
    },
    openapi_extra={"requestBody": _BODY},
)
async def revoke(request: Request, parts: Annotated[GatewayParts, Depends(parts_of)]) -> Response:
    """End the session of a token: an access token, a refresh token, or a carnet.

    Whoever signed in here needs no more than the access or refresh token; a public client says
    which one it is as well. A client to which a token was issued proves itself by an assertion,
    as at the token endpoint; so does one that acts by a carnet, which by itself ends nothing. A
    token that nobody knows is no error.
    """
    refuse_header(request)
    form = await OAuthForm.read(request)
    assertion = form.assertion()
    question = RevokeToken(
        token=form.need("token"),
        hint=form.get("token_type_hint"),
        client_assertion=assertion,
        client_id=form.public_client() if assertion is None else None,
        audiences=parts.options.audiences,
    )
    await ask(parts, question)
    return Response(headers=NO_STORE)
