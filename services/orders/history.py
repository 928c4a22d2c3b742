"""Each user's order events, numbered without a gap, in the transaction of what they tell."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import Code, RefusalError
from messaging.bulk import insert_new
from messaging.errors import RepeatedError
from messaging.upsert import insert_into
from services.contracts.orders import OrderEvent, OrderRefused, PlaceOrder, RecordedEvent
from services.orders.tables import EVENTS, SEQUENCES


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as its user is told it, and its body. `cause`: the command that it tells of."""

    subject: str
    event: OrderEvent
    body: bytes
    cause: str


class History:
    """What users have been told, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def next_sequences(self, subjects: Sequence[str]) -> list[int]:
        """The number of the next event for each of these subjects, some of them several times.

        Others who ask wait for our commit.
        """
        times = Counter(subjects)
        first = insert_into(self._session, SEQUENCES)
        statement = first.on_conflict_do_update(
            index_elements=[SEQUENCES.c.subject],
            set_={"latest": SEQUENCES.c.latest + first.excluded.latest},
        )
        latest = await self._session.execute(
            statement.returning(SEQUENCES.c.subject, SEQUENCES.c.latest),
            # In one order, so that two transactions do not wait for each other.
            [{"subject": subject, "latest": times[subject]} for subject in sorted(times)],
        )
        following = {row.subject: row.latest - times[row.subject] for row in latest}
        numbers = []
        for subject in subjects:
            following[subject] += 1
            numbers.append(following[subject])
        return numbers

    async def record(self, entries: Sequence[Entry]) -> None:
        """Keep events as they are published.

        What was refused may be told as done later, by an operator's release; nothing else is
        told of one command twice.

        Raises:
            RepeatedError: one of the commands was told of before.
            RefusalError: `id_reused`: likewise, but it was about another order.
        """
        await self._refuse_told([each for each in entries if isinstance(each.event, OrderRefused)])
        rows = [
            {
                "subject": each.subject,
                "sequence": each.event.sequence,
                "order_id": each.event.order_id,
                "type": each.event.route.type,
                "body": each.body.decode(),
                "cause": each.cause,
            }
            for each in entries
        ]
        new = await insert_new(self._session, EVENTS, rows, key=[EVENTS.c.cause, EVENTS.c.type])
        await self._refuse_told(
            [each for each in entries if (each.cause, each.event.route.type) not in new]
        )

    async def _refuse_told(self, entries: Sequence[Entry]) -> None:
        for each in entries:
            told = (
                await self._session.scalars(
                    select(EVENTS.c.order_id).where(EVENTS.c.cause == each.cause)
                )
            ).all()
            if each.event.order_id in told:
                raise RepeatedError("it was told of before")
            if told:
                raise RefusalError(Code.ID_REUSED, "its id was given to another command before")

    async def after(self, subject: str, sequence: int, *, limit: int) -> list[RecordedEvent]:
        """The subject's events after a number, oldest first, at most `limit`."""
        rows = await self._session.execute(
            select(EVENTS.c.sequence, EVENTS.c.type, EVENTS.c.body)
            .where(EVENTS.c.subject == subject, EVENTS.c.sequence > sequence)
            .order_by(EVENTS.c.sequence)
            .limit(limit)
        )
        return [RecordedEvent(sequence=r.sequence, type=r.type, body=r.body) for r in rows]

    async def placing_refused(self, order_id: str) -> tuple[str, OrderRefused] | None:
        """Whose order was refused before it was one, and what they were told."""
        rows = await self._session.execute(
            select(EVENTS.c.subject, EVENTS.c.body)
            .where(EVENTS.c.order_id == order_id, EVENTS.c.type == OrderRefused.route.type)
            .order_by(EVENTS.c.sequence)
        )
        for row in rows:
            told = OrderRefused.from_body(row.body.encode())
            if told.command == PlaceOrder.route.type:  # not somebody's refused cancel of it
                return row.subject, told
        return None

    async def latest(self, subject: str) -> int:
        """The number of the subject's newest event, 0 where there is none."""
        return (
            await self._session.scalar(
                select(SEQUENCES.c.latest).where(SEQUENCES.c.subject == subject)
            )
            or 0
        )
