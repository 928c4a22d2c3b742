"""The outermost layer of the app: limits on what comes in, headers on what goes out.

It lies outside every route, so that an error and an unknown address are treated alike.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.web import problems
from services.web.problems import ProblemError, new_instance, problem_response

MAX_BODY: Final = 64 * 1024
"""Bytes of a request's body."""
RECEIVE_DEADLINE: Final = 10.0
"""Seconds for a request's body to arrive."""

_SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_CACHE: Final = b"cache-control"
_NO_CACHE: Final = (_CACHE, b"no-cache")
_NO_STORE: Final = (_CACHE, b"no-store")
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")

log = structlog.get_logger(__name__)


class Edge:
    """ASGI middleware: bounds on the body, security headers, and the answer to the unforeseen.

    secure: whether clients come by https, perhaps through a proxy that ends it.
    receive_deadline: seconds for the whole body to arrive.
    """

    def __init__(self, app: ASGIApp, *, secure: bool, receive_deadline: float) -> None:
        self._app = app
        self._secure = secure
        self._receive_deadline = receive_deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        secure = self._secure or scope["scheme"] == "https"
        answer = _Answer(send, secure=secure)
        body = _Body(scope, receive, deadline=self._receive_deadline)
        try:
            body.check_announced_size()
            await self._app(scope, body.receive, answer.send)
        except ProblemError as foreseen:
            if answer.started:
                raise
            await problem_response(foreseen)(scope, receive, answer.send)
        except ClientDisconnect:
            return  # within its request: there is nobody to answer
        except Exception:
            # The outermost edge of a request: what nobody foresaw is logged and answered.
            instance = new_instance()
            log.exception("request_failed", path=scope["path"], instance=instance)
            if answer.started:
                raise
            problem = ProblemError(problems.INTERNAL_ERROR, "The service's log says more.")
            await problem_response(problem, instance)(scope, receive, answer.send)


class _Body:
    """A request's body, bounded in size and time."""

    def __init__(self, scope: Scope, receive: Receive, *, deadline: float) -> None:
        self._announced = Headers(scope=scope).get("content-length", "0")
        self._receive = receive
        self._size = 0
        self._complete = False
        self._until = asyncio.get_running_loop().time() + deadline

    def check_announced_size(self) -> None:
        """Refuse what says itself that it is too large, before any of it is read."""
        if len(self._announced) > len(str(MAX_BODY)) or int(self._announced) > MAX_BODY:
            raise _too_large()

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # waits for the client to go, for as long as it stays
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            raise ProblemError(
                problems.REQUEST_TIMEOUT,
                "The body did not arrive in time.",
                headers={"Connection": "close"},
            ) from error
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._size > MAX_BODY:
            raise _too_large()
        return message


class _Answer:
    """A response on its way, with the headers that all of them carry."""

    def __init__(self, send: Send, *, secure: bool) -> None:
        self.started = False
        self._send = send
        self._secure = secure

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = self._protected(message.get("headers", ()))
        await self._send(message)

    def _protected(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """`headers`, whose names are in lower case (ASGI), and what is missing there."""
        given = [field for field in headers if field != _NO_CACHE]
        names = {name for name, _ in given}
        given += [field for field in _SECURITY if field[0] not in names]
        if _CACHE not in names:
            given.append(_NO_STORE)
        if self._secure:
            given.append(_HSTS)
        return given


def _too_large() -> ProblemError:
    # Closed, since the rest of the body would otherwise still have to be read.
    return ProblemError(
        problems.BODY_TOO_LARGE,
        f"A body may have {MAX_BODY} bytes.",
        headers={"Connection": "close"},
    )
