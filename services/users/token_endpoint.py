"""`POST /oauth/token` of the user service itself: tokens for the broker, and nothing else.

No service can ask over the broker for what lets it onto the broker. So this one thing is asked for
by HTTP, by client credentials (RFC 6749 §4.4) with a signed assertion (RFC 7523 §2.2).
"""

import asyncio
from typing import Final
from urllib.parse import parse_qsl

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auth.assertion import unverified_client
from auth.errors import TrustUnavailableError
from messaging.errors import DatabaseUnavailableError
from messaging.rpc import Refused
from services.users.broker_tokens import BrokerTokens

PATH: Final = "/oauth/token"
FORM: Final = "application/x-www-form-urlencoded"
GRANT: Final = "client_credentials"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_BODY: Final = 16 * 1024
MAX_FIELDS: Final = 16
WITHIN: Final = 5.0
"""Seconds for the whole request to arrive."""

_STATUS: Final = {"invalid_client": 401, "temporarily_unavailable": 503}
_NOT_KEPT: Final = {"Cache-Control": "no-store"}  # RFC 6749 §5.1

log = structlog.get_logger(__name__)


def token_route(tokens: BrokerTokens) -> Route:
    async def token(request: Request) -> Response:
        try:
            assertion = _assertion_in(await _form_of(request))
            origin = request.client.host if request.client else None
            granted = await tokens.give(assertion, origin=origin)
        except Refused as refused:
            log.info("broker_token_refused", code=refused.code, detail=refused.detail)
            return _error(refused.code, refused.detail)
        except (TrustUnavailableError, DatabaseUnavailableError) as error:
            log.warning("broker_token_unavailable", code=error.code, detail=error.detail)
            return _error("temporarily_unavailable", "try again", {"Retry-After": "1"})
        answer = {
            "access_token": granted.token,
            "token_type": "Bearer",
            "expires_in": granted.expires_in,
            "scope": granted.scope,
        }
        return JSONResponse(answer, headers=_NOT_KEPT)

    return Route(PATH, token, methods=["POST"])


async def _form_of(request: Request) -> dict[str, str]:
    """The parameters, each once.

    Raises:
        Refused: `invalid_request`: no such form, too long, or too slow.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refused("invalid_request", f"the content type is not {FORM}")
    body = bytearray()
    try:
        async with asyncio.timeout(WITHIN):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY:
                    raise Refused("invalid_request", f"the body is longer than {MAX_BODY} bytes")
        pairs = parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=MAX_FIELDS)
    except (TimeoutError, ClientDisconnect) as error:
        raise Refused("invalid_request", "the body did not arrive") from error
    except ValueError as error:
        raise Refused("invalid_request", "the body is no form") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        # RFC 6749 §3.2: "parameters MUST NOT be included more than once".
        raise Refused("invalid_request", "a parameter is there twice")
    return form


def _assertion_in(form: dict[str, str]) -> str:
    """The one thing that is looked at.

    Raises:
        Refused: it is another request than ours.
    """
    if "grant_type" not in form:
        raise Refused("invalid_request", "grant_type is missing")
    if form["grant_type"] != GRANT:
        raise Refused("unsupported_grant_type", f"the grant type is not {GRANT}")
    assertion = form.get("client_assertion")
    if assertion is None or form.get("client_assertion_type") != ASSERTION:
        raise Refused("invalid_client", f"there is no client_assertion of the type {ASSERTION}")
    if form.get("client_id") not in {None, unverified_client(assertion)}:
        # RFC 7521 §4.2: it "MUST identify the same client as is identified by the assertion".
        raise Refused("invalid_client", "client_id is not the client of the assertion")
    return assertion


def _error(code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(
        {"error": code, "error_description": detail},
        status_code=_STATUS.get(code, 400),
        headers={**_NOT_KEPT, **(headers or {})},
    )
