"""Puts orders to an HTTP API, so many connections at once, each with its next request at once.

A process of its own, on httptools (the parser of uvicorn): an HTTP client as applications have one
takes longer for a request than the servers under measurement.
"""

import asyncio
from collections.abc import Iterator
from itertools import cycle
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import uvloop

from benchmarks.contender import Job, Meter, wait_for_go

PATIENCE: Final = 300.0
SUCCESS: Final = range(200, 300)


class AnswerError(Exception):
    """The server answered otherwise than with success, or went away."""


class Connection(asyncio.Protocol):
    """One connection kept alive: a request, its answer, the next request."""

    def __init__(self, requests: Iterator[bytes], meter: Meter, done: asyncio.Future[None]) -> None:
        self._requests, self._meter, self._done = requests, meter, done
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self) -> None:
        """Send the next request, where one is left."""
        if (request := next(self._requests, None)) is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or AnswerError("the server closed the connection"))

    def on_message_complete(self) -> None:
        if (status := self._parser.get_status_code()) not in SUCCESS:
            self._done.set_exception(AnswerError(f"the server answered {status}"))
            self._transport.abort()
        elif self._meter.tick():
            self._done.set_result(None)
        else:
            self.ask()


def requests_of(job: Job) -> list[bytes]:
    """One request for each token; they take turns."""
    place, body = urlsplit(job.url), job.options["body"].encode()
    head = (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {{}}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return [head.format(token).encode() + body for token in job.options["tokens"]]


async def main(job: Job) -> None:
    loop = asyncio.get_running_loop()
    place, meter = urlsplit(job.url), Meter(job.count)
    turns = cycle(requests_of(job))
    requests = (next(turns) for _ in range(job.count))
    done = loop.create_future()
    connections = []
    for _ in range(job.options["connections"]):
        _, connection = await loop.create_connection(
            lambda: Connection(requests, meter, done), place.hostname or "", place.port or 80
        )
        connections.append(connection)
    wait_for_go()
    meter.begin()
    for connection in connections:
        connection.ask()
    async with asyncio.timeout(PATIENCE):
        await done
    meter.end()
    meter.report()


if __name__ == "__main__":
    uvloop.run(main(Job.read()))
