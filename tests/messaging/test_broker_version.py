"""Which brokers we start on, by what they say of themselves."""

import re

import pytest

from messaging.broker import Broker
from messaging.broker_version import judge_version
from messaging.findings import Verdict
from tests.messaging.raw import WAIT
from tests.messaging.wire import wire_to


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("3.9.29", Verdict.FAIL),
        ("2.8.7", Verdict.FAIL),
        ("3.10.0", Verdict.OK),
        ("3.10.8", Verdict.OK),
        ("3.13.7+1.gdeadbee", Verdict.OK),
        ("4.0.0-rc.1", Verdict.OK),
        ("4.3.6", Verdict.OK),
        ("4.4.0", Verdict.WARN),
        ("5.0.0", Verdict.WARN),
        ("10.1.0", Verdict.WARN),
        ("unknown", Verdict.FAIL),
        ("", Verdict.FAIL),
    ],
)
def test_a_version_is_judged_by_its_two_first_numbers(version: str, verdict: Verdict) -> None:
    assert judge_version({"product": "RabbitMQ", "version": version}).verdict is verdict


def test_what_is_no_rabbitmq_is_refused_by_name() -> None:
    found = judge_version({"product": "LavinMQ", "version": "4.3.0"})

    assert found.verdict is Verdict.FAIL
    assert found.detail.startswith("the broker is LavinMQ 4.3.0; RabbitMQ 3.10 to 4.3 is needed")


def test_a_broker_that_says_nothing_of_itself_is_refused() -> None:
    assert judge_version({}).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("disguise", "verdict", "said"),
    [
        (b"3.9.", Verdict.FAIL, "is too old; upgrade it to 3.10 or newer"),
        (b"9.9.", Verdict.WARN, "is newer than 4.3"),
    ],
)
async def test_a_connected_broker_is_judged(
    amqp_url: str, disguise: bytes, verdict: Verdict, said: str
) -> None:
    """A broker of today that says it is of another time: only its version is not its own."""

    def rewrite(data: bytes) -> bytes:
        return re.sub(
            rb"(\x07versionS\x00\x00\x00.)(\d+\.\d+\.\d+)",
            lambda match: match[1] + disguise.ljust(len(match[2]), b"9"),
            data,
            flags=re.DOTALL,
        )

    async with wire_to(amqp_url, rewrite=rewrite) as wire:
        broker = await Broker(wire.url, name="test").start(WAIT)
        try:
            found = judge_version(broker.consuming.server)
        finally:
            await broker.close(WAIT)

    assert found.verdict is verdict
    assert said in found.detail
