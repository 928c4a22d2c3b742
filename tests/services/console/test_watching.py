"""A look at a service: whatever it answers, and whether it answers at all, is one row."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from messaging.metrics import Metrics
from services.health import HealthServer
from services.local.ports import LOOPBACK, free_ports
from services.operations.watching import (
    DEADLINE,
    MAX_ANSWER,
    Look,
    Watch,
    http_client,
    look_at,
)
from services.telemetry.exposition import exposition
from services.telemetry.reading import Numbers, UnreadableError, read_exposition

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _look(url: str, *wanted: str) -> Look:
    async with http_client() as http, asyncio.timeout(4 * DEADLINE):
        (look,) = await look_at(http, [Watch("orders", url)], wanted)
    return look


@asynccontextmanager
async def _answering(answer: Answer) -> AsyncIterator[str]:
    """A server that reads a request's head, and then does as it likes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    async with server:
        yield f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"


def _body(body: bytes, status: str = "200 OK", *fields: str) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (f"HTTP/1.1 {status}", f"content-length: {len(body)}", *fields, "", "")
        writer.write("\r\n".join(head).encode() + body)
        await writer.drain()

    return answer


async def _endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b"# nothing that ends\n" * 10_000)
        await writer.drain()


async def _drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b"#")
        await writer.drain()
        await asyncio.sleep(DEADLINE / 20)  # what is tried: always something, and never the end


async def _silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until whoever waits has gone


async def _nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"nonsense\r\n\r\n")
    await writer.drain()


RUBBISH: dict[str, tuple[Answer, str]] = {
    "an endless body": (_endless, f"answers more than {MAX_ANSWER} bytes"),
    "a body that drips": (_drip, f"does not answer within {DEADLINE:g} s"),
    "no answer": (_silence, f"does not answer within {DEADLINE:g} s"),
    "no HTTP": (_nothing, "nobody answers there"),
    "another page": (_body(b"<html>"), "answers something else"),
    "JSON of another form": (_body(b'{"checks": {"a": 1e999}}'), "answers something else"),
    "no text": (_body(b"\xff\xfe"), "answers something else"),
    "not found": (_body(b"", "404 Not Found"), "answers 404"),
    "a way elsewhere": (
        _body(b"", "302 Found", "location: http://127.0.0.1:1/"),
        "answers 302",
    ),
    "a way to no place": (_body(b"", "302 Found", "location: mailto:a@b"), "nobody answers there"),
    "a bomb": (_body(b"\x1f\x8b", "200 OK", "content-encoding: gzip"), "answers something else"),
}


async def test_what_a_service_wants_kept_is_not_kept() -> None:
    async with _answering(_body(b"", "200 OK", "set-cookie: a=b")) as url, http_client() as http:
        await look_at(http, [Watch("orders", url)])

        assert not list(http.cookies.jar)


async def test_a_release_is_named_in_short_whatever_the_service_says() -> None:
    info = "carnet_info"
    numbers = read_exposition(f'# TYPE {info} gauge\n{info}{{version="{"9" * 5000}"}} 1', {info})

    assert Look("orders", 0.0, numbers=numbers).as_party()["release"] == "9" * 100


@pytest.mark.parametrize("what", RUBBISH)
async def test_a_service_that_answers_rubbish_is_a_row_that_says_so(what: str) -> None:
    answer, said = RUBBISH[what]
    async with _answering(answer) as url:
        look = await _look(url)

    assert not look.up
    assert said in (look.error or "")
    party = look.as_party()
    assert (party["ready"], party["fresh"], party["key_set_version"]) == (None, None, None)


async def test_a_service_that_is_away_is_a_row_that_says_so() -> None:
    look = await _look(f"http://{LOOPBACK}:{free_ports(1)[0]}")

    assert (look.up, look.error) == (False, "nobody answers there")


async def test_a_name_that_nobody_knows_is_a_row_that_says_so() -> None:
    look = await _look("http://nowhere.invalid:8000")

    assert (look.up, look.error) == (False, "nobody knows its address")


async def test_a_service_that_is_not_ready_says_what_it_waits_for() -> None:
    metrics = Metrics()
    metrics.gauge("carnet_trust_fresh", "…").of().follow(lambda: 0)
    metrics.gauge("carnet_key_set_version", "…").of().follow(lambda: 7)
    metrics.gauge("carnet_info", "…", labels=("service", "version")).of("orders", "1.2").follow(
        lambda: 1
    )
    checks = {"broker": lambda: True, "trust": lambda: False}
    server = HealthServer(checks, metrics=metrics, host=LOOPBACK, port=0)
    await server.start()
    try:
        look = await _look(f"http://localhost:{server.port}")  # a name, of both kinds of address
    finally:
        await server.stop()

    assert look.as_party() == {
        "name": "orders",
        "up": True,
        "ready": False,
        "checks": {"broker": True, "trust": False},
        "release": "1.2",
        "key_set_version": 7,
        "key_set_expires_at": None,
        "fresh": False,
        "silence": None,
        "revocations": None,
        "error": None,
    }


@pytest.mark.parametrize(
    "text",
    [
        "orders",
        "orders=127.0.0.1:8000",
        "=http://127.0.0.1:8000",
        "orders=https://127.0.0.1",
        "orders=http://127.0.0.1/metrics",
        "orders=http://user:password@127.0.0.1",
        "orders=http://127.0.0.1:99999",
        "or ders=http://127.0.0.1",
        "orders=http://",
    ],
)
def test_what_names_no_service_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name=http://host:port"):
        Watch.parse(text)


# ---- the format


async def test_what_is_told_is_read_back() -> None:
    metrics = Metrics()
    told = metrics.counter("a_total", "…", labels=("name",))
    for name in ('"', "\\", "\n", "\\n", "ü", "}", ",", ""):
        told.of(name).add(2.5)
    durations = metrics.histogram("b_seconds", "…", bounds=(0.1, 1.0))
    durations.of().observe(0.5)
    metrics.counter("c_total", "…", labels=("name",))

    numbers = read_exposition(await exposition(metrics), {"a_total", "b_seconds", "c_total"})

    assert {each.labels["name"] for each in numbers.of("a_total")} == {
        *('"', "\\", "\n", "\\n", "ü", "}", ",", "")
    }
    assert {each.value for each in numbers.of("a_total")} == {2.5}
    buckets = {each.labels["le"]: each.value for each in numbers.of("b_seconds_bucket")}
    assert buckets == {"0.1": 0, "1": 1, "+Inf": 1}
    assert numbers.one("b_seconds_sum") == 0.5
    assert numbers.families == {"a_total", "b_seconds", "c_total"}


async def test_only_what_is_wanted_is_kept() -> None:
    text = "# TYPE a gauge\na 1\n# TYPE b gauge\nb 2\n"

    assert read_exposition(text, {"b"}).samples.keys() == {"b"}


def test_what_is_no_number_is_left_out() -> None:
    text = '# TYPE a gauge\na NaN\na{b="c"} +Inf\na{b="d"} 1 1700000000000\n'

    assert [each.value for each in read_exposition(text, {"a"}).of("a")] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a 1\n",
        "# TYPE a gauge\na\n",
        "# TYPE a gauge\na one\n",
        '# TYPE a gauge\na{b="c} 1\n',
        "# TYPE a gauge\na{b=c} 1\n",
        '# TYPE a gauge\na{b="\\x"} 1\n',
        "# TYPE a gauge\n<html>\n",
    ],
)
def test_what_is_no_exposition_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        read_exposition(text, {"a"})


def test_nothing_is_told_by_nobody() -> None:
    assert Numbers().one("a") is None
