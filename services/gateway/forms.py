"""Forms of our own pages: whether one that comes was filled in on a page that we gave that browser.

A cookie holds a random value that the form repeats. Another site can have the browser send a form,
but not with the cookie (`SameSite`), and does not know the value.
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from services.gateway import pages
from services.gateway.pages import FORM_TOKEN
from services.web.media import FORM, media_type
from services.web.problems import ProblemError

_NAME: Final = "carnet-form"
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def token_of(request: Request, *, secure: bool) -> str:
    """The value for this browser's forms: the one that it has, so that two tabs can be open."""
    kept = request.cookies.get(_name(secure=secure), "")
    return kept if _VALUE.fullmatch(kept) else secrets.token_urlsafe(32)


def keep(response: Response, token: str, *, secure: bool) -> Response:
    """Have the browser keep the value of its forms."""
    response.set_cookie(
        _name(secure=secure),
        token,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",  # so that it is there when another site leads here, and not when it posts
    )
    return response


def is_ours(request: Request, fields: Mapping[str, str], *, secure: bool) -> bool:
    """Whether the form comes from a page that we gave this browser."""
    # Browsers that say where a request comes from say it of all.
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    kept = request.cookies.get(_name(secure=secure), "")
    shown = fields.get(FORM_TOKEN, "")
    if _VALUE.fullmatch(kept) is None or _VALUE.fullmatch(shown) is None:
        return False
    return hmac.compare_digest(kept, shown)


async def read(request: Request) -> dict[str, str]:
    """The fields of a form, each once; none where it is no form, or names one twice.

    Raises:
        ProblemError: it is too large, or too slow.
    """
    if media_type(request) != FORM:
        return {}
    try:
        pairs = (await request.form()).multi_items()
    except ProblemError:
        raise
    except HTTPException:
        return {}
    fields = {name: value for name, value in pairs if isinstance(value, str)}
    return fields if len(fields) == len(pairs) else {}


def stale() -> Response:
    """The answer to a form that is none of ours, or no longer."""
    return pages.message(
        "This form has grown old",
        "It was not filled in on a page of ours, or your browser keeps no cookies. "
        "Go back to where you came from, and begin anew.",
        status=400,
    )


def _name(*, secure: bool) -> str:
    # "__Host-": no neighbour on another subdomain can set it (RFC 6265bis §4.1.3.2).
    return f"__Host-{_NAME}" if secure else _NAME
