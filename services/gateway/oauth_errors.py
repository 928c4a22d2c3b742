"""OAuth 2 errors: their form on the wire, and in the OpenAPI document."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request
from fastapi.responses import JSONResponse

from services.gateway.documents import Responses
from services.web.faults import CHALLENGE, quotable

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}

STATUS: Final[Mapping[str, int]] = {
    "invalid_request": 400,
    "invalid_client": 401,
    "invalid_grant": 400,
    "unauthorized_client": 400,
    "unsupported_grant_type": 400,
    "invalid_scope": 400,
    "unsupported_token_type": 400,
    "invalid_target": 400,
    "authorization_pending": 400,
    "slow_down": 400,
    "access_denied": 400,
    "expired_token": 400,
    "invalid_token": 401,
    "insufficient_scope": 403,
}
"""RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 6750 §3.1, RFC 8628 §3.5, RFC 8693 §2.2.2."""

_CHALLENGED: Final = frozenset({"invalid_client", "invalid_token", "insufficient_scope"})
_MEANINGS: Final = {
    400: "The request is not valid (RFC 6749 §5.2).",
    401: "The client is not who it says (RFC 6749 §5.2, RFC 6750 §3.1).",
    403: "The access token may not do this (RFC 6750 §3.1).",
}


class OAuthError(Exception):
    """A refusal in the words of RFC 6749 §5.2. `challenge`: how to authenticate instead."""

    def __init__(self, error: str, description: str, *, challenge: str = CHALLENGE) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.challenge = challenge


async def oauth_error(_request: Request, error: Exception) -> JSONResponse:
    """The answer to an `OAuthError`."""
    if not isinstance(error, OAuthError):
        raise error
    challenge = {"WWW-Authenticate": error.challenge} if error.error in _CHALLENGED else {}
    return JSONResponse(
        {"error": error.error, "error_description": quotable(error.description)},
        status_code=STATUS[error.error],
        headers={**NO_STORE, **challenge},
    )


def errors_of(*codes: str) -> Responses:
    """Document these errors, those of one status together."""
    documented: Responses = {}
    for code in codes:
        entry = documented.setdefault(
            STATUS[code],
            {
                "description": _MEANINGS[STATUS[code]],
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/OAuthError"},
                        "examples": {},
                    }
                },
            },
        )
        example = {"error": code, "error_description": "…"}
        entry["content"]["application/json"]["examples"][code] = {"value": example}
        if code in _CHALLENGED:
            entry["headers"] = {
                "WWW-Authenticate": {
                    "description": "The challenge.",
                    "schema": {"type": "string", "examples": [CHALLENGE]},
                }
            }
    return documented
