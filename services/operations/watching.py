"""A look at a service from outside: whether it is ready, and what it counts.

It is asked over HTTP for what `services.health` tells, `/health/ready` and `/metrics`. What comes
is bounded in size and time, and counts for nothing but what a service says of itself: one that is
away, or answers something else, is a party with an error.
"""

import asyncio
import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import Annotated, Any, Final

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.health import READY
from services.telemetry.exposition import PATH as METRICS
from services.telemetry.reading import Numbers, UnreadableError, read_exposition

DEADLINE: Final = 1.5
"""Seconds for all that one service answers."""

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of one answer. A gateway with all its series has 4 MB, and one in use 50 kB."""

MAX_PORT: Final = 65_535

LONGEST: Final = 100
"""Characters of a name that a service gives: of a check, or of its release."""

MOST: Final = 64
"""Addresses behind one name, which are looked at one by one."""

INFO: Final = "carnet_info"
STARTED: Final = "process_start_time_seconds"
FRESH: Final = "carnet_trust_fresh"
SILENCE: Final = "carnet_trust_silence_seconds"
REVOCATIONS: Final = "carnet_trust_revocations"
VERSION: Final = "carnet_key_set_version"
EXPIRY: Final = "carnet_key_set_expiry_timestamp_seconds"

OF_STANDING: Final = (INFO, STARTED, FRESH, SILENCE, REVOCATIONS, VERSION, EXPIRY)

_WATCH: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(http://[^/?#\s@]+)/?")


@dataclass(frozen=True, slots=True)
class Watch:
    """A service to look at. `url`: where it answers for its health and metrics, without a path."""

    name: str
    url: str

    @classmethod
    def parse(cls, text: str) -> "Watch":
        """Of `name=http://host:port`.

        Raises:
            ValueError: it is of another form.
        """
        found = _WATCH.fullmatch(text.strip())
        with suppress(httpx.InvalidURL):
            if found is not None:
                url = httpx.URL(found.group(2))
                if url.host and (url.port or 0) <= MAX_PORT:
                    return cls(*found.groups())
        named = text.strip().partition("=")[0]  # the rest may hold somebody's password
        raise ValueError(f"{named!r:.100} is not of the form name=http://host:port")

    def __str__(self) -> str:
        return f"{self.name}={self.url}"


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one process.

    at: by the monotonic clock.   ready: None where it does not say.   error: what is wrong, in one
    line; None where nothing is.
    """

    name: str
    at: float
    ready: bool | None = None
    checks: dict[str, bool] = field(default_factory=dict)
    numbers: Numbers | None = None
    error: str | None = None

    @property
    def up(self) -> bool:
        return self.ready is not None or self.numbers is not None

    def as_party(self) -> dict[str, Any]:
        """How it stands, as a relying party; None where that is not known."""
        numbers = self.numbers or Numbers()
        fresh, revocations = numbers.one(FRESH), numbers.one(REVOCATIONS)
        version, expiry = numbers.one(VERSION), numbers.one(EXPIRY)
        info = next((each.labels for each in numbers.of(INFO)), {})
        return {
            "name": self.name,
            "up": self.up,
            "ready": self.ready,
            "checks": self.checks,
            "release": info["version"][:LONGEST] if "version" in info else None,
            "key_set_version": _whole(version),
            "key_set_expires_at": _whole(expiry),
            "fresh": None if fresh is None else bool(fresh),
            "silence": numbers.one(SILENCE),
            "revocations": _whole(revocations),
            "error": self.error,
        }


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


class _LookError(Exception):
    """It cannot be asked, or answers something else; one line."""


class _Readiness(BaseModel):
    """What `/health/ready` answers."""

    model_config = ConfigDict(hide_input_in_errors=True)

    checks: dict[Annotated[str, Field(max_length=LONGEST)], bool] = Field(max_length=100)


async def look_at(
    http: httpx.AsyncClient, watches: Iterable[Watch], wanted: Iterable[str] = ()
) -> list[Look]:
    """One look at each, at the same time; at each process behind a name, where these are several.

    wanted: families of metrics that are to be read, besides those of their standing.
    """
    families = frozenset((*OF_STANDING, *wanted))
    found = await asyncio.gather(*(_look(http, watch, families) for watch in watches))
    return [look for looks in found for look in looks]


def http_client() -> httpx.AsyncClient:
    """A client for looks: it follows nobody elsewhere, and heeds no proxy of the environment.

    It keeps no cookies either: whoever is looked at could have it hold more with each answer.
    """
    return httpx.AsyncClient(
        timeout=DEADLINE,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        headers={"Accept-Encoding": "identity", "User-Agent": "carnet"},
    )


async def _look(http: httpx.AsyncClient, watch: Watch, wanted: frozenset[str]) -> list[Look]:
    try:
        async with asyncio.timeout(DEADLINE):
            places = await _places(watch)
    except (OSError, UnicodeError):
        return [Look(watch.name, time.monotonic(), error="nobody knows its address")]
    return list(
        await asyncio.gather(
            *(_look_there(http, name, place, wanted) for name, place in places.items())
        )
    )


async def _places(watch: Watch) -> dict[str, httpx.URL]:
    """Where its processes answer, by what they are called; several replicas by their addresses."""
    url = httpx.URL(watch.url)
    host = url.host
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return {watch.name: url}
    loop = asyncio.get_running_loop()
    known = await loop.getaddrinfo(host, url.port or 80, type=socket.SOCK_STREAM)
    # One process is reached by both kinds of address: of one kind they are processes.
    of_ip4 = {address[0] for kind, *_, address in known if kind == socket.AF_INET}
    of_ip6 = {address[0] for kind, *_, address in known if kind == socket.AF_INET6}
    addresses = sorted(map(str, of_ip4 or of_ip6))[:MOST]
    if len(addresses) == 1:
        return {watch.name: url.copy_with(host=addresses[0])}
    return {f"{watch.name} {address}": url.copy_with(host=address) for address in addresses}


async def _look_there(
    http: httpx.AsyncClient, name: str, place: httpx.URL, wanted: frozenset[str]
) -> Look:
    ready, metrics = await asyncio.gather(
        _readiness(http, place), _numbers(http, place, wanted), return_exceptions=True
    )
    for failed in (ready, metrics):
        if isinstance(failed, BaseException) and not isinstance(failed, _LookError):
            raise failed
    errors = [str(failed) for failed in (ready, metrics) if isinstance(failed, _LookError)]
    verdict, checks = (None, {}) if isinstance(ready, BaseException) else ready
    return Look(
        name,
        time.monotonic(),
        ready=verdict,
        checks=checks,
        numbers=None if isinstance(metrics, BaseException) else metrics,
        error=errors[0] if errors else None,
    )


async def _readiness(http: httpx.AsyncClient, place: httpx.URL) -> tuple[bool, dict[str, bool]]:
    status, body = await _ask(http, place, READY, also=httpx.codes.SERVICE_UNAVAILABLE)
    try:
        said = _Readiness.model_validate_json(body)
    except ValidationError:
        raise _LookError(f"{READY} answers something else") from None
    return status == httpx.codes.OK, said.checks


async def _numbers(http: httpx.AsyncClient, place: httpx.URL, wanted: frozenset[str]) -> Numbers:
    _, body = await _ask(http, place, METRICS)
    try:
        # In a thread: of a large one it would hold up everybody.
        return await asyncio.to_thread(read_exposition, body.decode(), wanted)
    except (UnreadableError, UnicodeDecodeError):
        raise _LookError(f"{METRICS} answers something else") from None


async def _ask(
    http: httpx.AsyncClient, place: httpx.URL, path: str, *, also: int = httpx.codes.OK
) -> tuple[int, bytes]:
    """Status and body of an answer, bounded in size and time."""
    parts: list[bytes] = []
    size = 0
    try:
        async with (
            asyncio.timeout(DEADLINE),
            http.stream("GET", place.copy_with(path=path)) as answer,
        ):
            if answer.status_code not in {httpx.codes.OK, also}:
                raise _LookError(f"{path} answers {answer.status_code}")
            async for part in answer.aiter_raw():
                size += len(part)
                if size > MAX_ANSWER:
                    raise _LookError(f"{path} answers more than {MAX_ANSWER} bytes")
                parts.append(part)
    except (TimeoutError, httpx.TimeoutException):
        raise _LookError(f"{path} does not answer within {DEADLINE:g} s") from None
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL):
        # The last of these is a way elsewhere: the client reads it, though it does not go there.
        raise _LookError("nobody answers there") from None
    return answer.status_code, b"".join(parts)
