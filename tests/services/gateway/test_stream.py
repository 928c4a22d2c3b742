"""A stream shows each of the user's events once, in order, whatever is lost on the way."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
from fastapi.sse import ServerSentEvent

from auth.errors import Code, RevokedTokenError, UntrustedTokenError
from auth.statements import Revocation
from auth.tokens import AccessClaims
from messaging.errors import BrokerUnavailableError, OversizedHeadersError
from messaging.rpc import RpcRefusedError
from services.contracts.orders import EventsPage, OrderCancelled, RecordedEvent
from services.gateway.live import EndReason, EventHub, LiveEvent, Subscription, TooManyStreamsError
from services.gateway.stream import OrderStream

ADA = "0d3c7a52-2f1b-4a39-9d57-6c1f6e0a7f10"
BOB = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
SESSION = "session-of-ada-0001"
ORDER = "7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11"


def claims(subject: str = ADA, session: str = SESSION, epoch: int = 1) -> AccessClaims:
    return AccessClaims(
        iss="user-service",
        sub=subject,
        aud="api-gateway",
        client_id="api-gateway",
        iat=1_000,
        exp=1_900,
        jti="token-of-ada-00001",
        scope="orders:read",
        sid=session,
        epoch=epoch,
    )


def recorded(sequence: int) -> RecordedEvent:
    event = OrderCancelled(
        order_id=ORDER, sequence=sequence, at=datetime(2026, 1, 1, tzinfo=UTC), cancelled_by=ADA
    )
    return RecordedEvent(sequence=sequence, type=event.route.type, body=event.to_body().decode())


def live(sequence: int) -> LiveEvent:
    event = recorded(sequence)
    return LiveEvent(event.sequence, event.type, event.body)


class Archive:
    """The order service's memory of one user's events, and whether it can be asked."""

    def __init__(self, latest: int) -> None:
        self.latest = latest
        self.fault: Exception | None = None
        self.asked: list[int] = []

    async def __call__(self, after: int) -> EventsPage:
        self.asked.append(after)
        if self.fault is not None:
            raise self.fault
        numbers = range(after + 1, min(self.latest, after + 3) + 1)
        return EventsPage(events=tuple(recorded(n) for n in numbers), latest=self.latest)


class Reader:
    """A client that reads a stream."""

    def __init__(self, stream: OrderStream) -> None:
        self._events: AsyncIterator[ServerSentEvent] = stream.events()

    async def until(self, reached: Callable[[ServerSentEvent], bool]) -> list[ServerSentEvent]:
        read = []
        async with asyncio.timeout(10):
            async for event in self._events:
                read.append(event)
                if reached(event):
                    return read
        raise AssertionError(f"the stream ended before: {read}")

    async def ids(self, upto: int) -> list[int]:
        read = await self.until(lambda event: event.id == str(upto))
        return [int(event.id) for event in read if event.id]

    async def end(self) -> str:
        *_, last = await self.until(lambda event: event.event == "end")
        return str(json.loads(last.raw_data or "")["reason"])


def stream(
    subscription: Subscription,
    archive: Archive,
    *,
    after: int,
    replay: bool = False,
    expires_at: float = 2_000,
    heartbeat: float = 5,
    clock: Callable[[], float] = lambda: 1_000.0,
    trusted: Callable[[], bool] = lambda: True,
) -> Reader:
    return Reader(
        OrderStream(
            subscription=subscription,
            history=archive,
            clock=clock,
            after=after,
            replay=replay,
            expires_at=expires_at,
            heartbeat=heartbeat,
            trusted=trusted,
        )
    )


async def test_live_events_are_sent_in_order_and_once() -> None:
    hub, archive = EventHub(), Archive(latest=0)
    with hub.subscribe(claims()) as subscription:
        for sequence in (1, 2, 2, 1, 3):
            hub.publish(ADA, live(sequence))

        assert await stream(subscription, archive, after=0).ids(3) == [1, 2, 3]
    assert archive.asked == []


async def test_a_gap_is_filled_from_the_order_service() -> None:
    hub, archive = EventHub(), Archive(latest=5)
    with hub.subscribe(claims()) as subscription:
        hub.publish(ADA, live(1))
        hub.publish(ADA, live(5))

        assert await stream(subscription, archive, after=0).ids(5) == [1, 2, 3, 4, 5]


async def test_a_resumed_stream_begins_with_what_its_client_has_not_seen() -> None:
    hub, archive = EventHub(), Archive(latest=8)
    with hub.subscribe(claims()) as subscription:
        hub.publish(ADA, live(8))
        hub.publish(ADA, live(9))

        read = await stream(subscription, archive, after=4, replay=True).ids(9)

    assert read == [5, 6, 7, 8, 9]


async def test_an_id_from_the_future_counts_as_the_present() -> None:
    hub, archive = EventHub(), Archive(latest=2)
    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, archive, after=900, replay=True)
        hub.publish(ADA, live(3))

        assert await reader.ids(3) == [3]


async def test_what_was_sent_while_nobody_listened_is_fetched() -> None:
    hub, archive = EventHub(), Archive(latest=2)
    with hub.subscribe(claims()) as subscription:
        hub.miss()

        assert await stream(subscription, archive, after=0).ids(2) == [1, 2]


async def test_a_stream_that_has_missed_nothing_asks_nobody() -> None:
    hub, archive = EventHub(), Archive(latest=0)
    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, archive, after=0, heartbeat=0.01)

        await reader.until(lambda event: event.comment == "alive")

    assert archive.asked == []


async def test_a_gap_waits_for_an_order_service_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.gateway.stream.RETRY_FETCH", 0.01)
    hub, archive = EventHub(), Archive(latest=3)
    archive.fault = BrokerUnavailableError("gone")
    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, archive, after=0)
        hub.publish(ADA, live(3))

        await reader.until(lambda event: event.comment == "waiting for the order service")
        archive.fault = None

        assert await reader.ids(3) == [1, 2, 3]


async def test_it_ends_when_the_issuer_no_longer_stands_by_the_session() -> None:
    hub, archive = EventHub(), Archive(latest=3)
    archive.fault = RpcRefusedError("invalid_grant", "the session has ended")
    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, archive, after=0, replay=True)

        assert await reader.end() == EndReason.SESSION_ENDED


async def test_what_nobody_foresaw_is_not_hidden() -> None:
    hub, archive = EventHub(), Archive(latest=3)
    archive.fault = OversizedHeadersError("ours")
    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, archive, after=0, replay=True)

        with pytest.raises(OversizedHeadersError):
            await reader.end()


async def test_it_ends_when_the_access_token_does() -> None:
    hub = EventHub()
    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, Archive(0), after=0, expires_at=999)

        assert await reader.end() == EndReason.TOKEN_EXPIRED


async def test_it_ends_when_the_access_token_does_while_it_waits() -> None:
    hub, now = EventHub(), [1_000.0]
    with hub.subscribe(claims()) as subscription:
        reader = stream(
            subscription, Archive(0), after=0, heartbeat=0.01, clock=lambda: now[0], expires_at=1001
        )
        await reader.until(lambda event: event.comment == "alive")
        now[0] = 1001.0

        assert await reader.end() == EndReason.TOKEN_EXPIRED


async def test_it_ends_with_the_session_that_opened_it_and_no_other_one() -> None:
    hub = EventHub()
    other_claims = claims(session="another-session-01")
    with hub.subscribe(claims()) as mine, hub.subscribe(other_claims) as other:
        hub.end(Revocation(seq=1, until=100_000, sid=SESSION))

        assert await stream(mine, Archive(0), after=0).end() == EndReason.SESSION_ENDED
        assert other.ended is None


async def test_it_ends_with_its_subjects_access_and_no_later_one() -> None:
    hub = EventHub()
    with (
        hub.subscribe(claims()) as mine,
        hub.subscribe(claims(epoch=2)) as later,
        hub.subscribe(claims(BOB)) as bobs,
    ):
        hub.end(Revocation(seq=1, until=100_000, sub=ADA, epoch=2))

        assert await stream(mine, Archive(0), after=0).end() == EndReason.SESSION_ENDED
        assert (later.ended, bobs.ended) == (None, None)


async def test_nothing_is_told_while_revocations_are_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.gateway.stream.RETRY_FETCH", 0.01)
    hub, archive, trusted = EventHub(), Archive(latest=2), asyncio.Event()
    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, archive, after=0, trusted=trusted.is_set)
        hub.publish(ADA, live(1))
        hub.publish(ADA, live(2))

        told = await reader.until(lambda event: event.comment == "waiting for the trust feed")
        assert [event.id for event in told if event.id] == []
        trusted.set()

        assert await reader.ids(2) == [1, 2]


async def test_what_comes_in_the_moment_in_which_trust_is_lost_is_told_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.gateway.stream.RETRY_FETCH", 0.01)
    hub, archive = EventHub(), Archive(latest=1)
    verdicts = iter([True, False, False])
    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, archive, after=0, trusted=lambda: next(verdicts, True))
        hub.publish(ADA, live(1))

        read = await reader.until(lambda event: event.id == "1")

    assert "waiting for the trust feed" in [event.comment for event in read]
    assert archive.asked == [0]


async def test_nothing_is_told_once_the_access_token_is_refused() -> None:
    def refuse() -> bool:
        raise UntrustedTokenError(Code.UNKNOWN_KEY, "withdrawn")

    hub, archive = EventHub(), Archive(latest=1)
    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, archive, after=0, replay=True, trusted=refuse)
        hub.publish(ADA, live(1))

        _, *rest = await reader.until(lambda event: event.event == "end")

    assert [json.loads(event.raw_data or "") for event in rest] == [
        {"reason": EndReason.SESSION_ENDED}
    ]
    assert archive.asked == []


async def test_it_stops_within_a_page_whose_token_is_refused_meanwhile() -> None:
    hub, archive, refused = EventHub(), Archive(latest=3), asyncio.Event()

    def judged() -> bool:
        if refused.is_set():
            raise RevokedTokenError(Code.REVOKED, "its client was withdrawn")
        return True

    with hub.subscribe(claims()) as subscription:
        reader = stream(subscription, archive, after=0, replay=True, trusted=judged)
        assert await reader.ids(1) == [1]
        refused.set()

        assert [event.id for event in await reader.until(lambda e: e.event == "end")] == [None]


async def test_a_client_that_does_not_read_is_let_go() -> None:
    hub = EventHub(max_queued=2)
    with hub.subscribe(claims()) as subscription:
        for sequence in (1, 2, 3):
            hub.publish(ADA, live(sequence))

        assert await stream(subscription, Archive(3), after=0).end() == EndReason.SLOW_CLIENT


async def test_a_hub_that_closes_ends_the_streams_of_now_and_of_later() -> None:
    hub = EventHub()
    with hub.subscribe(claims()) as before:
        hub.close()
        with hub.subscribe(claims()) as after:
            assert await stream(before, Archive(0), after=0).end() == EndReason.SHUTDOWN
            assert await stream(after, Archive(0), after=0).end() == EndReason.SHUTDOWN


async def test_nobody_receives_the_events_of_somebody_else() -> None:
    hub = EventHub()
    with hub.subscribe(claims()) as ada, hub.subscribe(claims(BOB)) as bob:
        hub.publish(BOB, live(1))

        assert await ada.wait(0.01) is None
        assert await bob.wait(1) == live(1)


async def test_one_user_has_a_bounded_number_of_streams() -> None:
    hub = EventHub(max_streams=1)
    with hub.subscribe(claims()):
        with pytest.raises(TooManyStreamsError), hub.subscribe(claims()):
            pass
        with hub.subscribe(claims(BOB)):
            pass
    with hub.subscribe(claims()):
        pass
