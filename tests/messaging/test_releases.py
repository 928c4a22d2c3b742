"""What an operator releases is done once, whatever is replayed; what is discarded, never."""

import asyncio
import time

from sqlalchemy import insert, select

from auth.errors import Code, RefusalError
from auth.keys import SigningKey
from messaging.envelope import Envelope
from messaging.errors import NotYetError
from messaging.retries import CRASHES
from tests.messaging.market import (
    GATEWAY,
    Message,
    Sell,
    make_carnet,
    released,
    sell,
)
from tests.messaging.raw import WAIT, until
from tests.messaging.stall import SALES, TABLES, Stall
from tests.messaging.test_poison import crashed, drop

DAY = 24 * 3600


async def _publish(stall: Stall, *envelopes: Envelope) -> None:
    for envelope in envelopes:
        await stall.publisher.publish(envelope, deadline=WAIT)


async def _inbox(stall: Stall) -> list[tuple[str, str | None]]:
    inbox = TABLES.inbox
    async with stall.database.session() as session:
        rows = await session.execute(select(inbox.c.outcome, inbox.c.code))
        return [(row.outcome, row.code) for row in rows]


async def _refuse(_command: Sell) -> None:
    raise RefusalError("no_tea", "there is none")


async def _not_yet(_command: Sell) -> None:
    raise NotYetError("the kettle is cold")


async def _dead(stall: Stall, message: Message) -> Envelope:
    """The message as it was sent, once it is refused and off the dead letters."""
    envelope = message.envelope
    await _publish(stall, envelope)
    await stall.dead_letter()
    return envelope


def too_old() -> Message:
    then = time.time() - 2 * DAY
    return sell("tea").but(sealed_at=then, life=DAY, carnet=make_carnet(now=then))


async def test_what_came_too_late_is_done_once_when_it_is_released(any_stall: Stall) -> None:
    stall = any_stall
    await stall.open()
    envelope = await _dead(stall, too_old())
    assert await _inbox(stall) == [("refused", Code.TOO_OLD)]

    release = released(envelope)
    await _publish(stall, *[release] * 10, released(envelope), released(envelope))

    await stall.settled(13)
    assert stall.consumer.counts == {"dead:too_old": 1, "done": 12}
    assert stall.starts == ["tea"]
    assert await stall.sales() == ["tea"]
    assert await _inbox(stall) == [("done", None)]


async def test_what_expired_is_done_when_it_is_released(standing: Stall) -> None:
    then = time.time() - 3600
    late = sell("tea").but(carnet=make_carnet(now=then, life=60), sealed_at=then + 100)
    envelope = await _dead(standing, late)
    assert await _inbox(standing) == [("refused", Code.EXPIRED)]

    await _publish(standing, released(envelope))

    await standing.settled(2)
    assert await standing.sales() == ["tea"]


async def test_what_a_release_does_not_lift_is_refused_again(standing: Stall) -> None:
    envelope = await _dead(standing, too_old())

    await _publish(standing, released(envelope, lift=()))

    assert (await standing.dead_letter()).headers["carnet-reason"] == Code.TOO_OLD
    assert await standing.sales() == []


async def test_what_was_revoked_is_done_only_if_the_release_names_it(standing: Stall) -> None:
    standing.trust.revocations.revoke_session("session-of-alice-0001", until=2**40)
    try:
        envelope = await _dead(standing, sell("tea"))
        await _publish(standing, released(envelope))
        assert (await standing.dead_letter()).headers["carnet-reason"] == Code.REVOKED
        assert await standing.sales() == []

        await _publish(standing, released(envelope, lift=("age", "expiry", "revocation")))

        await standing.settled(3)
        assert await standing.sales() == ["tea"]
    finally:
        standing.trust.revocations.prune(2**41)


async def test_what_is_refused_again_is_told_once_and_lies_dead_with_the_new_reason(
    any_stall: Stall,
) -> None:
    stall = any_stall
    await stall.open()
    envelope = await _dead(stall, too_old())
    stall.before = _refuse

    await _publish(stall, released(envelope))

    assert (await stall.dead_letter()).headers["carnet-reason"] == "no_tea"
    assert [refusal.code for refusal in stall.refusals] == [Code.TOO_OLD]
    assert await _inbox(stall) == [("refused", "no_tea")]
    assert await stall.sales() == []


async def test_what_fails_when_it_is_released_is_tried_again(stall: Stall) -> None:
    await stall.open()
    envelope = await _dead(stall, too_old())
    failed = asyncio.Event()

    async def fail_once(_command: Sell) -> None:
        stall.before = None
        failed.set()
        raise NotYetError("the kettle is cold")

    stall.before = fail_once
    await _publish(stall, released(envelope))

    await stall.until_rows(SALES, 1)
    assert failed.is_set()
    assert await _inbox(stall) == [("done", None)]


async def test_what_fails_when_its_release_is_about_to_end_is_not_sent_to_wait(
    standing: Stall,
) -> None:
    """It would come back with a release that counts no more, and be refused for that."""
    envelope = await _dead(standing, too_old())
    standing.before = _not_yet
    try:
        await _publish(standing, released(envelope, life=0))
        assert (await standing.dead_letter()).headers["carnet-reason"] == Code.EXHAUSTED
    finally:
        standing.before = None


async def test_what_was_exhausted_begins_anew_when_it_is_released(
    any_stall: Stall, amqp_url: str
) -> None:
    stall = any_stall
    message = sell("tea")
    envelope = message.envelope
    counted = {"iss": GATEWAY, "jti": message.message_id, "attempts": 5, "at": 0}
    await stall.execute(insert(TABLES.retries).values(counted))
    stall.before = _not_yet
    await _publish(stall, envelope)
    await drop(amqp_url)
    await stall.open()
    assert (await stall.dead_letter()).headers["carnet-reason"] == Code.EXHAUSTED

    await _publish(stall, released(envelope))

    # Not exhausted at once: it waits in the queue for the first retry.
    await until(lambda: stall.consumer.counts["retried"] == 1)
    stall.before = None
    await stall.until_rows(SALES, 1)


async def test_what_was_poison_is_started_again_when_it_is_released(
    any_stall: Stall, amqp_url: str
) -> None:
    stall = any_stall
    message = sell("tea")
    envelope = message.envelope
    await crashed(stall, message, CRASHES)
    await _publish(stall, envelope)
    await drop(amqp_url)
    await stall.open()
    assert (await stall.dead_letter()).headers["carnet-reason"] == Code.POISON

    await _publish(stall, released(envelope))

    await stall.settled(2)
    assert await stall.sales() == ["tea"]
    assert await stall.rows(TABLES.retries) == 0


async def test_a_release_that_is_no_good_touches_no_message(standing: Stall) -> None:
    """It arrives before the message itself, which is then done as if nothing had been."""
    envelope = sell("tea").envelope
    for forged in (
        released(envelope, key=SigningKey.generate()),
        released(sell("milk").envelope),
        released(envelope, life=-60),
    ):
        moved = Envelope(
            route=forged.route,
            body=envelope.body,
            headers={**envelope.headers, "carnet-release": forged.headers["carnet-release"]},
        )
        await _publish(standing, moved)
        reason = (await standing.dead_letter()).headers["carnet-reason"]
        assert reason in {Code.RELEASE_REFUSED, Code.RELEASE_EXPIRED}
    assert await standing.rows(TABLES.inbox) == 0
    assert standing.refusals == []

    await _publish(standing, envelope)

    await standing.settled(4)
    assert await standing.sales() == ["tea"]


async def test_what_is_discarded_is_never_done(any_stall: Stall) -> None:
    stall = any_stall
    await stall.open()
    envelope = await _dead(stall, too_old())
    late = released(envelope)

    await _publish(stall, released(envelope, what="discard"))
    await stall.settled(2)
    await _publish(stall, late, released(envelope), released(envelope, what="discard"))

    await stall.settled(5)
    assert stall.starts == []
    assert await _inbox(stall) == [("discarded", Code.DISCARDED)]
    assert [refusal.code for refusal in stall.refusals] == [Code.TOO_OLD]


async def test_a_discard_is_told_of_what_nobody_was_told_of(standing: Stall) -> None:
    """The broker itself has moved it to the dead letters, unread."""
    await _publish(standing, released(sell("tea").envelope, what="discard"))

    await standing.settled(1)
    assert [refusal.code for refusal in standing.refusals] == [Code.DISCARDED]
    assert await _inbox(standing) == [("discarded", Code.DISCARDED)]


async def test_what_is_done_is_not_discarded_any_more(standing: Stall) -> None:
    envelope = sell("tea").envelope
    await _publish(standing, envelope, released(envelope, what="discard"))

    await standing.settled(2)
    assert await _inbox(standing) == [("done", None)]


async def test_a_discard_of_a_message_with_the_id_of_another_changes_nothing(
    standing: Stall,
) -> None:
    message = sell("tea")
    other = message.but(command=Sell(what="milk")).envelope
    await _publish(standing, message.envelope, released(other, what="discard"))

    await standing.settled(2)
    assert await _inbox(standing) == [("done", None)]
    assert standing.consumer.counts == {"done": 2}
