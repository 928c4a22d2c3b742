"""One HTTP connection, with bounds that the server does not have by itself.

A head may have so many bytes and take so long, and so may what follows it, whatever the app makes
of it; an answer waits so long for its reader. Without them a client could have a header or a
trailer of any length gathered, or hold a connection for ever.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.web import problems
from services.web.edge import MAX_BODY, RECEIVE_DEADLINE
from services.web.problems import (
    MEDIA_TYPE,
    Kind,
    ProblemError,
    new_instance,
    problem_response,
    render,
)

MAX_HEAD: Final = 16 * 1024
"""Bytes of request line and header fields together."""
HEAD_DEADLINE: Final = 10.0
"""Seconds for a head to arrive, from its first byte or the connection's start."""
MAX_REST: Final = 6 * MAX_BODY + MAX_HEAD
"""Bytes of what follows a head: a body, each byte a chunk (`1 CR LF x CR LF`), and trailers."""
REST_DEADLINE: Final = RECEIVE_DEADLINE + 5.0
"""Seconds for what follows a head to arrive; later than the app's own, which answers better."""
READ_DEADLINE: Final = 30.0
"""Seconds for a client to take what was sent, once the buffers between us are full."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too large, and lets go of a client that is too slow.

    So it does with what follows the head, until the message ends: the app may have answered long
    before, and reads no more of it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = False
        self._in_rest = False
        self._began = False
        self._size = 0
        self._head_timer = _Timer(HEAD_DEADLINE)
        self._rest_timer = _Timer(REST_DEADLINE)
        self._read_timer = _Timer(READ_DEADLINE)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer.start(transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.stop()
        self._rest_timer.stop()
        self._read_timer.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._began = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        # Only now: most requests are whole within one piece, and need no timer.
        if self._in_head:
            self._head_timer.start(self.transport.close)
        elif self._in_rest:
            self._rest_timer.start(self._rest_is_late)
        # How much of a piece in which a head or a rest began belongs to it is not known: it counts
        # as nothing, and the whole head is measured once it is complete.
        self._size = 0 if self._began else self._size + len(data)
        if self._in_head and self._size > MAX_HEAD:
            self._refuse(problems.HEADERS_TOO_LARGE, f"A head may have {MAX_HEAD} bytes.")
        elif self._in_rest and self._size > MAX_REST:
            self._give_up(problems.BODY_TOO_LARGE, f"A body may have {MAX_BODY} bytes.")
        elif self._idle and self.timeout_keep_alive_task is None:
            # Any byte stops the server's timer: the rest of a request that was answered before, or
            # an empty line.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._began = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # "A recipient MUST NOT merge a received trailer field into the header section unless its
        # corresponding header field definition explicitly permits" it (RFC 9112 §7.1.2).
        if not self._in_rest:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_timer.stop()
        self._in_head = False
        self._in_rest = self._began = True
        lengths = (len(name) + len(value) for name, value in self.headers)
        if len(self.url) + sum(lengths) > MAX_HEAD:
            self.app = _head_too_large
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._rest_timer.stop()
        self._in_rest = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(problems.MALFORMED_REQUEST, msg)

    def pause_writing(self) -> None:
        super().pause_writing()
        # Not `close`, which waits until all is sent.
        self._read_timer.start(self.transport.abort)

    def resume_writing(self) -> None:
        self._read_timer.stop()
        super().resume_writing()

    @property
    def _idle(self) -> bool:
        """Whether the last request is over, its answer too, and no other one has begun."""
        asked = self._in_head or self._in_rest
        return not asked and self.cycle is not None and self.cycle.response_complete

    def _rest_is_late(self) -> None:
        if self.flow.read_paused:
            # What is late waits for us: for the answer to an earlier request, or for the app.
            self._rest_timer.start(self._rest_is_late)
        else:
            self._give_up(problems.REQUEST_TIMEOUT, "The body did not arrive in time.")

    def _give_up(self, kind: Kind, detail: str) -> None:
        """End a message that does not end; say why, where nothing is said to it yet."""
        if self.cycle.response_started or self.pipeline:
            self.transport.abort()
        else:
            self._refuse(kind, detail)

    def _refuse(self, kind: Kind, detail: str) -> None:
        """Answer where there is no request to give to the app."""
        document = render(ProblemError(kind, detail), new_instance())
        head = (
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(document)}\r\n"
            "cache-control: no-store\r\nx-content-type-options: nosniff\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[kind.status] + head.encode() + document)
        self.transport.close()


class _Timer:
    """Does something after a while, unless stopped before."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._handle: asyncio.TimerHandle | None = None

    def start(self, act: Callable[[], None]) -> None:
        """Begin to wait, where it does not yet."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._seconds, self._fire, act)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self, act: Callable[[], None]) -> None:
        self._handle = None
        act()


async def _head_too_large(scope: Scope, receive: Receive, send: Send) -> None:
    problem = ProblemError(
        problems.HEADERS_TOO_LARGE,
        f"A head may have {MAX_HEAD} bytes.",
        headers={"Connection": "close"},
    )
    await problem_response(problem)(scope, receive, send)
