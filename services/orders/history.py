"""Each user's order events, numbered without a gap, in the transaction of what they tell."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import Code, RefusalError
from messaging.errors import RepeatedError
from messaging.upsert import insert_into
from services.contracts.orders import OrderEvent, OrderRefused, PlaceOrder, RecordedEvent
from services.orders.tables import EVENTS, SEQUENCES


class History:
    """What users have been told, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def next_sequence(self, subject: str) -> int:
        """The number of the subject's next event; others who ask wait for our commit."""
        first = insert_into(self._session, SEQUENCES).values(subject=subject, latest=1)
        statement = first.on_conflict_do_update(
            index_elements=[SEQUENCES.c.subject], set_={"latest": SEQUENCES.c.latest + 1}
        )
        sequence: int = (
            await self._session.execute(statement.returning(SEQUENCES.c.latest))
        ).scalar_one()
        return sequence

    async def record(self, subject: str, event: OrderEvent, *, cause: str) -> None:
        """Keep an event as it is published. `cause`: the command that it tells of.

        What was refused may be told as done later, by an operator's release; nothing else is
        told of one command twice.

        Raises:
            RepeatedError: that command was told of before.
            RefusalError: `id_reused`: likewise, but it was about another order.
        """
        if isinstance(event, OrderRefused):
            await self._refuse_told(event, cause)
        statement = insert_into(self._session, EVENTS).values(
            subject=subject,
            sequence=event.sequence,
            order_id=event.order_id,
            type=event.route.type,
            body=event.to_body().decode(),
            cause=cause,
        )
        recorded = await self._session.execute(
            statement.on_conflict_do_nothing(
                index_elements=[EVENTS.c.cause, EVENTS.c.type]
            ).returning(EVENTS.c.sequence)
        )
        if recorded.first() is None:
            await self._refuse_told(event, cause)

    async def _refuse_told(self, event: OrderEvent, cause: str) -> None:
        told = (
            await self._session.scalars(select(EVENTS.c.order_id).where(EVENTS.c.cause == cause))
        ).all()
        if event.order_id in told:
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
