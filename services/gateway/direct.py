"""The direct way to a route that is asked for most: past FastAPI's, where a request is in order.

FastAPI describes the route and serves it; its routing, dependencies and answers cost twice what the
route itself does. So the route is asked first: it answers, or says that it is not sure, and then
FastAPI gets the same request as if nobody had looked at it, and finds what is wrong with it.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.web.faults import problem_of
from services.web.observing import ROUTE
from services.web.problems import ProblemError, problem_response

Direct = Callable[[Request, bytes], Awaitable[Response | None]]
"""Answers a request with its body; None, before it has done anything, where FastAPI is to."""


class DirectWay:
    """ASGI middleware, within all others: the routes that have a direct way, by method and path."""

    def __init__(self, app: ASGIApp, *, routes: Mapping[tuple[str, str], Direct]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope.get("method", ""), scope.get("path", "")))
        if route is None:
            await self._app(scope, receive, send)
            return
        try:
            received = await _all_of(receive)
        except ProblemError as problem:  # too large, or too late: the edge's own, said from here
            await problem_response(problem)(scope, receive, send)
            return
        answer = None
        if received[-1]["type"] == "http.request":  # else the client has gone before the end
            body = b"".join(message.get("body", b"") for message in received)
            answer = await _answer(route, Request(scope), body)
            scope[ROUTE] = scope["path"]  # as registered: without parameters
        if answer is None:
            await self._app(scope, _again(received, receive), send)
        else:
            await answer(scope, receive, send)


async def _answer(route: Direct, request: Request, body: bytes) -> Response | None:
    try:
        return await route(request, body)
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        return problem_response(problem)


async def _all_of(receive: Receive) -> list[Message]:
    """The messages that the body comes in, up to its end or the client's."""
    received = [await receive()]
    while received[-1].get("more_body", False):
        received.append(await receive())
    return received


def _again(received: list[Message], receive: Receive) -> Receive:
    """What was received, once more, and then what comes next."""
    messages = iter(received)

    async def replay() -> Message:
        message = next(messages, None)
        return await receive() if message is None else message

    return replay
