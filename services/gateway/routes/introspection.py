"""The introspection endpoint (RFC 7662): what a token is, for those who cannot tell themselves."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from services.contracts.scopes import TOKENS_INTROSPECT
from services.contracts.users import Introspect, Introspection
from services.gateway import examples
from services.gateway.bearer import admit
from services.gateway.documents import RPC, problems_of
from services.gateway.oauth import ASSERTION, OAuthForm, ask, body_of, refuse_header
from services.gateway.oauth_errors import NO_STORE, OAuthError, errors_of
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.routes.revocation import HINTS
from services.web import problems
from services.web.problems import ProblemError

_BODY: Final = body_of(
    {
        "token": {"type": "string", "minLength": 1},
        "token_type_hint": {"type": "string", "maxLength": 100, "examples": list(HINTS)},
    },
    required=["token"],
    examples={
        "by assertion": {
            "token": "eyJhbGc…",
            "client_assertion_type": ASSERTION,
            "client_assertion": "eyJhbGc…",
        },
        "by bearer token": {"token": "eyJhbGc…"},
    },
)
_SECURITY: Final = [{"bearer": []}, {"oauth2": [TOKENS_INTROSPECT]}, {}]
"""The last one: by an assertion in the form."""

_BEARER_ERRORS: Final = {400: "invalid_request", 401: "invalid_token", 403: "insufficient_scope"}

router = APIRouter(tags=["oauth"])


@router.post(
    "/oauth/introspect",
    operation_id="introspect",
    summary="Introspect a token",
    response_model=Introspection,
    responses={
        200: {
            "description": "What the token is now; `active` false, and nothing else, of any that "
            "opens nothing or is not the client's to know of. Never from a cache.",
            "content": {"application/json": {"examples": examples.INTROSPECTIONS}},
        },
        **problems_of(
            problems.REQUEST_TIMEOUT, problems.BODY_TOO_LARGE, problems.TRUST_UNAVAILABLE, *RPC
        ),
        **errors_of("invalid_request", "invalid_client", "invalid_token", "insufficient_scope"),
    },
    openapi_extra={"requestBody": _BODY, "security": _SECURITY},
)
async def introspect(
    request: Request, parts: Annotated[GatewayParts, Depends(parts_of)]
) -> JSONResponse:
    """What a token is now, as the issuer knows it (RFC 7662).

    A client proves itself by an assertion, as at the token endpoint, and is told of tokens that
    it receives or that were issued to it. An access token with the scope `tokens:introspect` in
    the `Authorization` header does instead, and is told of every one.
    """
    scheme = request.headers.get("authorization", "").partition(" ")[0].lower()
    if scheme != "bearer":
        refuse_header(request)
    form = await OAuthForm.read(request)
    assertion = form.assertion()
    if scheme == "bearer":
        if assertion is not None:
            # "The client MUST NOT use more than one authentication method in each request."
            raise OAuthError("invalid_request", "there are two proofs of who asks")
        _admit(request, parts)
    elif assertion is None:
        raise OAuthError("invalid_client", "clients authenticate by private_key_jwt")
    question = Introspect(
        token=form.need("token"),
        client_assertion=assertion,
        audiences=parts.options.audiences,
    )
    known = await ask(parts, question)
    return JSONResponse(known.model_dump(mode="json", exclude_none=True), headers=NO_STORE)


def _admit(request: Request, parts: GatewayParts) -> None:
    try:
        admit(request, parts, {TOKENS_INTROSPECT})
    except ProblemError as problem:
        raise OAuthError(
            _BEARER_ERRORS[problem.status_code],
            problem.detail,
            challenge=(problem.headers or {})["WWW-Authenticate"],
        ) from problem
