"""Looking something up in the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, false, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.users.store import AuditEntry, table_of

AT_ONCE: Final = 200_000
"""Entries that one answer looks at, at most: the log only grows, and somebody waits."""

_ENTRIES: Final = table_of(AuditEntry)
_SHOWN: Final = (
    "id",
    "at",
    "what",
    "outcome",
    "who",
    "client",
    "whom",
    "session",
    "why",
    "origin",
    "request_id",
)


class Outcome(StrEnum):
    """How an act ended."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Sought:
    """Which entries are wanted: of one kind, with one outcome, about one party or session.

    about: the whole `who`, `whom` or `session`.
    """

    what: str | None = None
    outcome: str | None = None
    about: str | None = None

    def conditions(self) -> Sequence[ColumnElement[bool]]:
        """All of these hold of an entry that is wanted."""
        given = [value for value in (self.what, self.outcome, self.about) if value is not None]
        if not all(value.isprintable() for value in given):
            return [false()]  # no such text was written down; PostgreSQL rejects a NUL
        same = {"what": self.what, "outcome": self.outcome}
        found = [_ENTRIES.c[name] == value for name, value in same.items() if value is not None]
        if self.about is not None:
            parties = (_ENTRIES.c.who, _ENTRIES.c.whom, _ENTRIES.c.session)
            found.append(or_(*(party == self.about for party in parties)))
        return found


@dataclass(frozen=True, slots=True)
class AuditPart:
    """Entries, the latest first. `before`: the id below which to go on looking; None at the end."""

    entries: Sequence[dict[str, Any]]
    before: int | None


async def look_up(
    work: AsyncSession, sought: Sought, *, before: int | None, limit: int, at_once: int = AT_ONCE
) -> AuditPart:
    """The latest entries with an id below `before`; None for the latest of all.

    There may be fewer than `limit`, even none, while there are more to be looked at.
    """
    end = (await work.scalar(select(func.max(_ENTRIES.c.id))) or 0) + 1
    before = end if before is None else min(before, end)
    first = max(1, before - at_once)
    found = await work.execute(
        select(*(_ENTRIES.c[name] for name in _SHOWN))
        .where(_ENTRIES.c.id < before, _ENTRIES.c.id >= first, *sought.conditions())
        .order_by(_ENTRIES.c.id.desc())
        .limit(limit + 1)
    )
    entries = [dict(row) for row in found.mappings()]
    if len(entries) > limit:
        return AuditPart(entries[:limit], entries[limit - 1]["id"])
    return AuditPart(entries, first if first > 1 else None)
