"""The content type that a route takes: another one is refused (RFC 9110 §15.5.16)."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from services.web import problems
from services.web.problems import ProblemError

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"


def media_type(request: Request) -> str:
    """The request's content type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def takes(wanted: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency that refuses a body of another type, or of none."""

    async def check(request: Request) -> None:
        if media_type(request) != wanted:
            raise ProblemError(
                problems.UNSUPPORTED_MEDIA_TYPE,
                f"Send the body as {wanted}.",
                headers={"Accept": wanted},
            )

    return check
