"""Tokens in the place of a password: asked for, renewed on the open connection, given up."""

import asyncio
from collections.abc import Callable

import pytest
from yarl import URL

from messaging.broker import Broker
from messaging.errors import BrokerLoginError, BrokerTokenError
from messaging.link import Link
from messaging.login import BrokerToken
from tests.messaging.raw import WAIT, until
from tests.messaging.wire import Wire

LIFE = 4.0
"""Seconds: long enough that a busy machine renews before the end."""


class Tokens:
    """Gives what this broker takes: RabbitMQ treats a password and a token alike on the wire."""

    def __init__(self, url: str, *, life: float = LIFE) -> None:
        self.given = 0
        self.refused = 0
        self.life = life
        self.fault: Callable[[], Exception] | None = None
        self._password = URL(url).password or ""

    async def __call__(self) -> BrokerToken:
        if self.fault is not None:
            self.refused += 1
            raise self.fault()
        self.given += 1
        return BrokerToken(self._password, self.life)


def no_token() -> Exception:
    return BrokerTokenError("nobody is there")


def with_password(url: str, password: str) -> str:
    return str(URL(url).with_password(password))


async def test_the_token_is_what_logs_in_whatever_the_url_says(amqp_url: str) -> None:
    tokens = Tokens(amqp_url, life=60)
    broker = Broker(with_password(amqp_url, "wrong"), name="test")

    await broker.start(WAIT, tokens=tokens)

    assert broker.connected
    assert tokens.given == 2  # each connection's own
    await broker.close(WAIT)


async def test_a_token_is_renewed_on_the_open_connection(amqp_url: str) -> None:
    tokens = Tokens(amqp_url)
    link = Link(amqp_url, name="test")
    await link.start(WAIT, tokens=tokens)
    first = link._connection

    await until(lambda: tokens.given >= 2)

    assert link._connection is first
    channel = await link.channel(WAIT)
    await channel.close()
    await link.close(WAIT)


async def test_a_renewal_that_fails_is_tried_again(amqp_url: str) -> None:
    tokens = Tokens(amqp_url)
    link = Link(amqp_url, name="test")
    await link.start(WAIT, tokens=tokens)
    first = link._connection
    tokens.fault = no_token
    await until(lambda: tokens.refused >= 2)

    tokens.fault = None

    await until(lambda: tokens.given >= 2)
    assert link._connection is first
    assert link.connected
    await link.close(WAIT)


@pytest.mark.parametrize("fault", [no_token, lambda: BrokerLoginError("you may have none")])
async def test_an_expired_token_ends_the_connection_until_there_is_another(
    amqp_url: str, fault: Callable[[], Exception]
) -> None:
    tokens = Tokens(amqp_url, life=1)
    link = Link(amqp_url, name="test")
    await link.start(WAIT, tokens=tokens)
    first = link._connection
    assert first is not None
    tokens.fault = fault

    await until(lambda: not link.connected)
    await asyncio.wait_for(first.closed(), WAIT)
    tokens.fault = None

    channel = await link.channel(WAIT)
    assert link._connection is not first
    await channel.close()
    await link.close(WAIT)


async def test_a_lost_connection_comes_back_with_a_fresh_token(wire: Wire) -> None:
    tokens = Tokens(wire.url, life=60)
    link = Link(wire.url, name="test")
    await link.start(WAIT, tokens=tokens)

    wire.cut()

    await until(lambda: tokens.given == 2 and link.connected)
    await link.close(WAIT)


async def test_it_waits_for_its_first_token(amqp_url: str) -> None:
    tokens = Tokens(amqp_url, life=60)
    tokens.fault = no_token
    link = Link(amqp_url, name="test")
    starting = asyncio.create_task(link.start(WAIT, tokens=tokens))
    await until(lambda: tokens.refused >= 2)

    tokens.fault = None

    await starting
    assert link.connected
    await link.close(WAIT)


async def test_without_a_token_it_says_so_after_the_deadline(amqp_url: str) -> None:
    tokens = Tokens(amqp_url)
    tokens.fault = no_token

    with pytest.raises(BrokerTokenError, match="nobody is there"):
        await Link(amqp_url, name="test").start(0.5, tokens=tokens)


async def test_a_token_that_never_comes_is_given_up_in_time(amqp_url: str) -> None:
    async def never() -> BrokerToken:
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.timeout(WAIT):
        with pytest.raises(BrokerTokenError, match="in time"):
            await Link(amqp_url, name="test").start(0.5, tokens=never)


async def test_who_may_have_no_token_is_told_at_once(amqp_url: str) -> None:
    tokens = Tokens(amqp_url)
    tokens.fault = lambda: BrokerLoginError("you may have none")

    with pytest.raises(BrokerLoginError, match="you may have none"):
        await Broker(amqp_url, name="test").start(3600, tokens=tokens)


async def test_a_token_that_the_broker_does_not_take_is_told_and_not_shown(amqp_url: str) -> None:
    tokens = Tokens(with_password(amqp_url, "some.token"))

    with pytest.raises(BrokerLoginError, match="does not take the token") as caught:
        await Link(amqp_url, name="test").start(WAIT, tokens=tokens)

    assert "some.token" not in str(caught.value)
    assert "some.token" not in repr(await tokens())
