"""What must never run a handler: each row differs from a genuine command in one respect."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import aio_pika
import pytest

from auth.errors import Code
from messaging.consumer_parts import CONCURRENCY
from messaging.envelope import Envelope
from tests.messaging.market import STRANGER, WORK, Sell, make_carnet, party, sell
from tests.messaging.stall import TABLES, Stall

Forgery = Callable[[], Envelope]


def _with(**headers: str | None) -> Envelope:
    """A genuine command with headers set, or taken away where the value is None."""
    genuine = sell().envelope
    merged: dict[str, Any] = {**genuine.headers, **headers}
    return replace(genuine, headers={n: v for n, v in merged.items() if v is not None})


def _body_changed() -> Envelope:
    return replace(sell().envelope, body=Sell(what="gold").to_body())


def _token_of_another_message() -> Envelope:
    return replace(sell().envelope, headers=sell().envelope.headers)


def _carnet_of_another_message() -> Envelope:
    other = sell().but(carnet=make_carnet(scope="market:sell market:buy"))
    return _with(authorization=other.envelope.headers["authorization"])


def _sealed_by_a_stranger() -> Envelope:
    return sell().but(sealed_by=STRANGER).envelope


def _sealed_for_another_route() -> Envelope:
    message = sell()
    route = replace(message.command.route, routing_key="market.buy")
    seal = party("api-gateway").sealer.command(
        route=route,
        audience="market-service",
        message_id=message.message_id,
        body=message.envelope.body,
        carnet=message.carnet,
        now=time.time(),
        expires_at=time.time() + 60,
    )
    return Envelope.sealed(
        message.command.route, message.envelope.body, seal=seal, carnet=message.carnet
    )


UNAUTHENTICATED: Final[dict[str, tuple[Forgery, Code]]] = {
    "no seal": (lambda: _with(**{"carnet-seal": None}), Code.MISSING_TOKEN),
    "no carnet": (lambda: _with(authorization=None), Code.MISSING_TOKEN),
    "two carnets": (lambda: _with(Authorization="Bearer x"), Code.DUPLICATE_TOKEN),
    "a carnet that is none": (lambda: _with(authorization="Bearer a.b.c"), Code.MALFORMED_TOKEN),
    "128 KiB of token": (
        lambda: _with(authorization="Bearer " + "a" * 100_000),
        Code.OVERSIZED_TOKEN,
    ),
    "another body": (_body_changed, Code.SEAL_MISMATCH),
    "tokens of another message": (_token_of_another_message, Code.SEAL_MISMATCH),
    "the carnet of another message": (_carnet_of_another_message, Code.SEAL_MISMATCH),
    "sealed by a stranger": (_sealed_by_a_stranger, Code.WRONG_CLIENT),
    "sealed for another route": (_sealed_for_another_route, Code.SEAL_MISMATCH),
    "a carnet for another service": (
        lambda: sell().but(carnet=make_carnet(audience="other-service")).envelope,
        Code.WRONG_AUDIENCE,
    ),
    "a type that the queue does not serve": (
        lambda: replace(sell().envelope, route=replace(Sell.route, type="market.steal.v1")),
        Code.UNKNOWN_TYPE,
    ),
}

AUTHENTICATED: Final[dict[str, tuple[Forgery, Code]]] = {
    "no scope": (
        lambda: sell().but(carnet=make_carnet(scope="market:sell-all")).envelope,
        Code.INSUFFICIENT_SCOPE,
    ),
    "a carnet that was expired at acceptance": (
        lambda: sell().but(carnet=make_carnet(now=time.time() - 900)).envelope,
        Code.EXPIRED,
    ),
    "work that waited for too long": (
        lambda: (
            sell()
            .but(carnet=make_carnet(now=time.time() - 900), sealed_at=time.time() - 890, life=60)
            .envelope
        ),
        Code.TOO_OLD,
    ),
    "a body that is no JSON": (
        lambda: sell().but(body=b"\x00\xff random").envelope,
        Code.INVALID_BODY,
    ),
    "a body of another contract": (
        lambda: sell().but(body=b'{"what": 1}').envelope,
        Code.INVALID_BODY,
    ),
    "a body nested 100,000 deep": (
        lambda: sell().but(body=b'{"what": ' + b"[" * 100_000).envelope,
        Code.INVALID_BODY,
    ),
    "a body of 1 MB": (
        lambda: sell().but(body=b'{"what": "%s"}' % (b"x" * 1_000_000)).envelope,
        Code.INVALID_BODY,
    ),
    "a body with a field too many": (
        lambda: sell().but(body=b'{"what": "tea", "admin": true}').envelope,
        Code.INVALID_BODY,
    ),
}


async def _publish(stall: Stall, envelope: Envelope) -> None:
    """Past our own publisher, which would not send some of these."""
    await stall.raw.publish(
        envelope.route.exchange,
        envelope.route.routing_key,
        envelope.body,
        headers=envelope.headers,
        type=envelope.route.type,
    )


async def _goes_on(stall: Stall, *, after: int = 1) -> None:
    """The next genuine command is done; `after`: how many were settled before."""
    good = sell("the next one")
    await stall.send(good)
    await stall.settled(after + 1)
    assert await stall.sales() == ["the next one"]
    assert stall.starts == ["the next one"]


@pytest.mark.parametrize("name", UNAUTHENTICATED)
async def test_what_is_not_genuine_is_refused_and_leaves_no_trace(
    standing: Stall, name: str
) -> None:
    make, code = UNAUTHENTICATED[name]
    await _publish(standing, make())

    assert (await standing.dead_letter()).headers["carnet-reason"] == code
    assert standing.refusals == []
    assert await standing.rows(TABLES.inbox) == 0
    await _goes_on(standing)


@pytest.mark.parametrize("name", AUTHENTICATED)
async def test_what_is_genuine_and_refused_is_recorded_and_told(standing: Stall, name: str) -> None:
    make, code = AUTHENTICATED[name]
    heard = await standing.raw.listen("carnet.events", "market.unsold")
    await _publish(standing, make())

    assert (await standing.dead_letter()).headers["carnet-reason"] == code
    assert (await standing.raw.next(heard)).body == b'{"code":"%s"}' % code.encode()
    assert await standing.rows(TABLES.inbox) == 1
    await _goes_on(standing)


async def test_a_message_with_a_cc_is_refused(standing: Stall) -> None:
    message = sell().envelope

    await standing.raw.publish(
        "carnet.commands",
        "market.sell",
        message.body,
        headers={**message.headers, "CC": ["elsewhere"]},
        type=message.route.type,
    )

    assert (await standing.dead_letter()).headers["carnet-reason"] == Code.FORBIDDEN_HEADER
    await _goes_on(standing)


async def test_tokens_that_are_no_strings_are_refused(standing: Stall) -> None:
    await standing.raw.publish(
        "carnet.commands",
        "market.sell",
        b"{}",
        headers={"authorization": 7, "carnet-seal": {"a": ["b"]}},
        type="market.sell.v1",
    )

    dead = await standing.dead_letter()
    assert dead.headers["carnet-reason"] == Code.MISSING_TOKEN
    assert dead.headers["carnet-omitted"] == "authorization, carnet-seal"
    await _goes_on(standing)


async def test_a_message_without_anything_is_refused(standing: Stall) -> None:
    await standing.raw.publish("carnet.commands", "market.sell", b"")

    assert (await standing.dead_letter()).headers["carnet-reason"] == Code.UNKNOWN_TYPE
    await _goes_on(standing)


async def test_a_message_kept_dead_has_no_more_than_16_kib_of_headers(standing: Stall) -> None:
    notes = {f"carnet-note-{number}": "x" * 5000 for number in range(20)}
    message = sell().but(body=b"no json").envelope

    await standing.raw.publish(
        "carnet.commands",
        "market.sell",
        message.body,
        headers={**message.headers, **notes},
        type=message.route.type,
    )

    dead = await standing.dead_letter()
    assert dead.headers["carnet-seal"] == message.headers["carnet-seal"]
    assert dead.headers["authorization"] == message.headers["authorization"]
    assert str(dead.headers["carnet-omitted"]).startswith("carnet-note-")
    assert isinstance(dead, aio_pika.IncomingMessage)
    await _goes_on(standing)


async def test_names_of_many_bytes_fit_into_the_room_too(standing: Stall) -> None:
    """As many as there are handlers at once: each that could not be moved would hold up one."""
    many_bytes, after_them = "\u0905" * 80, "\U0001f600"
    notes: dict[str, object] = {f"carnet-{many_bytes}{n}": n for n in range(3)}
    notes |= {f"carnet-{after_them}{n:03}": "x" * 14 for n in range(520)}

    for _ in range(CONCURRENCY):
        await standing.raw.publish("carnet.commands", "market.sell", b"", headers=notes)

    for _ in range(CONCURRENCY):
        dead = await standing.dead_letter()
        assert str(dead.headers["carnet-omitted"]).startswith("carnet-\u0905")
    await _goes_on(standing, after=CONCURRENCY)


async def test_what_is_refused_goes_to_the_dead_letters_of_its_queue(standing: Stall) -> None:
    await standing.raw.publish("carnet.commands", "market.sell", b"junk", type="junk")

    assert (await standing.dead_letter()).headers["carnet-queue"] == WORK.name
