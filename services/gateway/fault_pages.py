"""Faults told to people: where a browser shows the answer, a problem document helps nobody."""

import re
from collections.abc import Awaitable, Callable
from functools import wraps
from html import escape
from typing import Any, Final

from fastapi import Request, Response

from messaging.rpc import RpcRefusedError
from services.gateway import pages
from services.gateway.documents import Responses
from services.web import problems
from services.web.faults import FAULTS, problem_of
from services.web.problems import ProblemError

_FORESEEN: Final[tuple[type[Exception], ...]] = (ProblemError, RpcRefusedError, *FAULTS)
_UNWANTED: Final = re.compile(r"q=0(\.0{0,3})?")
_MINUTE: Final = 60
_AWAY: Final = (
    "Something that is needed to sign in does not answer at the moment. It mostly comes back by "
    "itself. Nothing is wrong with your account, or with what you typed."
)
_SAFE: Final = frozenset({"GET", "HEAD"})

Route = Callable[..., Awaitable[Response]]


def for_people(route: Route) -> Route:
    """Have a fault that the route raises answered with a page, where the client takes one."""

    @wraps(route)
    async def answered(*, request: Request, **parts: Any) -> Response:
        try:
            return await route(request=request, **parts)
        except _FORESEEN as error:
            problem = problem_of(error)
            if problem is None or not takes_html(request):
                raise
            return _page(problem, again=request.method in _SAFE)

    return answered


def takes_html(request: Request) -> bool:
    """Whether the client names HTML among what it takes (RFC 9110 §12.5.1).

    Who takes anything, as programs do, is better off with a problem document.
    """
    for entry in ",".join(request.headers.getlist("accept")).split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        if kind == pages.TEXT:
            return not any(_UNWANTED.fullmatch(each) for each in parameters)
    return False


def also_as_page(documented: Responses) -> Responses:
    """Document that these problems are pages for those who take HTML."""
    for answer in documented.values():
        answer["content"] |= pages.DOCUMENTED
    return documented


def _page(problem: ProblemError, *, again: bool) -> Response:
    """`again`: whether the browser may ask once more by itself, since nothing was sent."""
    headers = problem.headers or {}
    title, told = _told(problem)
    if "Retry-After" in headers:
        told.append(_what_to_do(int(headers["Retry-After"]), again=again))
    content = "".join(f"<p>{escape(each)}</p>\n" for each in told)
    if again:
        content += '<p><a href="">Try again</a></p>\n'
    content += (
        '<p class="small">If it stays like this, tell whoever runs this site: '
        f"<code>{escape(problem.kind.code)}</code></p>"
    )
    return pages.page(title, content, status=problem.kind.status, headers=headers)


def _told(problem: ProblemError) -> tuple[str, list[str]]:
    """The title, and what has happened, in the visitor's terms."""
    if problem.kind.status == problems.UPSTREAM_UNAVAILABLE.status:
        return "Not possible at present", [_AWAY]
    return problem.kind.title, [problem.detail]


def _what_to_do(seconds: int, *, again: bool) -> str:
    wait = f"{seconds} seconds" if seconds < 2 * _MINUTE else f"{-(-seconds // _MINUTE)} minutes"
    if again:
        return f"Wait {wait}, and try again."
    # Whether a form arrived is not known where no answer came; a device may go on by now.
    return f"Wait {wait}, go back in your browser, and send the form once more."
