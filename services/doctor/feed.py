"""The trust feed heard for a moment, as a relying party hears it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from auth.errors import KeySetError, RefusalError
from auth.feed import Feed
from auth.statements import HEARTBEAT
from auth.strict import parse_json_object, parse_token
from messaging.broker import Broker
from messaging.broker_clock import Skew, judge_skew
from messaging.findings import Finding, Verdict, fail, ok
from messaging.subscription import Subscription, listening_queue
from messaging.topology import TRUST

CHECK: Final = "feed"

LISTEN: Final = 5.0
"""Seconds: two heartbeats, and one that is late."""


async def examine_feed(
    broker: Broker, client_id: str, feed: Feed, *, clock: Callable[[], float]
) -> Finding:
    """Listen until a heartbeat comes that `feed` believes.

    Raises:
        BrokerUnavailableError: the connection broke.
    """
    source = listening_queue(f"carnet.{client_id}.doctor", TRUST, [""])
    listener = Subscription(broker, source, prefetch=10)
    ended = asyncio.Event()
    running = asyncio.create_task(listener.run(ended), name="doctor's feed")
    try:
        await listener.wait_until_ready(LISTEN)
        return await _first_heartbeat(listener, feed, clock)
    finally:
        ended.set()
        await running
        await listener.close()


async def _first_heartbeat(
    listener: Subscription, feed: Feed, clock: Callable[[], float]
) -> Finding:
    began, refused = time.monotonic(), ""
    while (left := began + LISTEN - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(left):
                delivery = await listener.next()
        except TimeoutError:
            break
        if delivery is None:
            break
        await delivery.ack()
        if delivery.type != HEARTBEAT:
            continue
        statement = delivery.body.decode("ascii", errors="replace")
        try:
            feed.hear(statement, now=clock(), ticks=time.monotonic())
        except (RefusalError, KeySetError) as error:
            refused = f"; one was refused: {error.detail}"
            continue
        return _judge(statement, feed, after=time.monotonic() - began, now=clock())
    return fail(
        CHECK,
        f"no heartbeat to be believed within {LISTEN:.0f} s{refused}; while there is none nothing "
        "is judged: is the user service running and ready, and this machine's clock right?",
    )


def _judge(verified_statement: str, feed: Feed, *, after: float, now: float) -> Finding:
    claims = parse_json_object(
        parse_token(verified_statement, limit=len(verified_statement)).unverified_payload
    )
    skew = judge_skew(Skew.between(now, claims["iat"], now), "the issuer's")
    if skew.verdict is not Verdict.OK:
        return Finding(CHECK, skew.verdict, skew.detail)
    newer = claims["version"] > feed.key_set.version
    news = f", and tells of a newer key set, version {claims['version']}" if newer else ""
    return ok(CHECK, f"a heartbeat came after {after:.1f} s; the clock {skew.detail}{news}")
