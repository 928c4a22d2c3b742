"""The audit log: who did what, on whom, when, and what was refused. Only ever added to.

Every entry is written in the transaction of what it records, and carries the hash of the entry
before it in its chain, so that a change or a removal shows. There are several chains, and a
transaction takes one that is free: with one alone, all that the issuer does would wait in a
single queue (docs/decisions/0007-audit-chains.md). No entry holds a token or a password.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.users.store import AuditChain, AuditEntry

FIRST: Final = "0" * 64
"""What the first entry of a chain has in the place of an earlier one's hash."""

_LINKED: Final = (
    "chain",
    "number",
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
    "previous",
)
_LONGEST: Final = 255
_BATCH: Final = 1000


class What(StrEnum):
    """What an entry is about."""

    REGISTER = "register"
    SIGN_IN = "sign_in"
    REFRESH = "refresh"
    CLIENT_CREDENTIALS = "client_credentials"
    EXCHANGE = "exchange"
    INTROSPECT = "introspect"
    SIGN_OUT = "sign_out"
    REVOKE_TOKEN = "revoke_token"  # noqa: S105 - a name, no secret
    REVOKE_SESSION = "revoke_session"
    REVOKE_USER = "revoke_user"
    ADD_ACCOUNT = "add_account"
    CHANGE_PASSWORD = "change_password"  # noqa: S105 - a name, no secret
    CHANGE_ROLES = "change_roles"
    ENABLE = "enable"
    DISABLE = "disable"
    ROTATE_KEY = "rotate_key"
    ADOPT_KEY_SET = "adopt_key_set"


@dataclass(slots=True)
class Entry:
    """What is written down.

    who: the subject or service that acts, or `operator:<login>`.   client: that asked for it.
    whom: the account, key or version that it is about.   session: its `sid`.
    why: the code of a refusal, or what else there is to know.   origin: a pseudonym.
    """

    what: What
    who: str
    client: str | None = None
    request_id: str | None = None
    whom: str | None = None
    session: str | None = None
    why: str | None = None
    origin: str | None = None
    outcome: str = "done"


async def append(work: AsyncSession, entry: Entry, *, at: int) -> None:
    """Write the entry, as part of the transaction `work`."""
    chain, number, previous = await _take_chain(work)
    values = {
        **asdict(entry),
        "who": _plain(entry.who),
        "why": None if entry.why is None else _plain(entry.why),
        "what": entry.what.value,
        "chain": chain,
        "number": number + 1,
        "at": at,
        "previous": previous,
    }
    values["hash"] = link(values)
    await work.execute(insert(AuditEntry).values(values))
    await work.execute(
        update(AuditChain)
        .where(AuditChain.chain == chain)
        .values(number=values["number"], hash=values["hash"])
    )


def _plain(text: str) -> str:
    """One line that every database and terminal takes: some of it was typed by strangers."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[
        :_LONGEST
    ]


async def _take_chain(work: AsyncSession) -> tuple[int, int, str]:
    """The end of a chain, which is ours until the transaction ends."""
    ends = select(AuditChain.chain, AuditChain.number, AuditChain.hash).limit(1)
    free = (await work.execute(ends.with_for_update(skip_locked=True))).first()
    if free is None:
        free = (await work.execute(ends.order_by(func.random()).with_for_update())).one()
    return free.chain, free.number, free.hash


def link(values: Mapping[str, Any]) -> str:
    """The hash of an entry with all its values and, by `previous`, of those before it.

    SHA-256 in hexadecimal over the JSON array of the values in the order of an export's members,
    without white space, in ASCII.
    """
    state = json.dumps([values[name] for name in _LINKED], separators=(",", ":"))
    return hashlib.sha256(state.encode()).hexdigest()


async def export(work: AsyncSession, *, since: int = 0) -> AsyncIterator[dict[str, Any]]:
    """The entries from a time on, in the order in which they were written."""
    columns = [getattr(AuditEntry, name) for name in (*_LINKED, "hash")]
    last = 0
    while True:
        rows = (
            await work.execute(
                select(AuditEntry.id, *columns)
                .where(AuditEntry.id > last, AuditEntry.at >= since)
                .order_by(AuditEntry.id)
                .limit(_BATCH)
            )
        ).all()
        for row in rows:
            entry = dict(row._mapping)  # noqa: SLF001 - the row's public mapping has this name
            last = entry.pop("id")
            yield entry
        if len(rows) < _BATCH:
            return


async def check(work: AsyncSession) -> tuple[int, list[str]]:
    """How many entries there are, and what is wrong with them, if anything.

    What is written meanwhile is left to the next time.
    """
    ends = await _ends(work)
    faults: list[str] = []
    reached = dict.fromkeys(ends, (0, FIRST))
    beyond: dict[int, int] = {}
    total = 0
    async for entry in _by_chain(work):
        chain, number = entry["chain"], entry["number"]
        if number > ends.get(chain, (0, FIRST))[0]:
            beyond[chain] = number
            continue
        total += 1
        before, previous = reached[chain]
        if number != before + 1:
            faults.append(f"chain {chain}: {_missing(before + 1, number - 1)}")
        elif entry["previous"] != previous:
            faults.append(f"chain {chain}: entry {number} does not follow entry {before}")
        if link(entry) != entry["hash"]:
            faults.append(f"chain {chain}: entry {number} was changed")
        reached[chain] = (number, entry["hash"])
    for chain, (number, digest) in ends.items():
        last, last_digest = reached[chain]
        if last < number:
            faults.append(f"chain {chain}: {_missing(last + 1, number)}")
        elif last_digest != digest:
            faults.append(f"chain {chain}: its end is not the one that was written")
    later = await _ends(work) if beyond else ends
    faults += [
        f"chain {chain}: there are entries after its end"
        for chain, number in beyond.items()
        if number > later.get(chain, (0, FIRST))[0]
    ]
    return total, faults


async def _ends(work: AsyncSession) -> dict[int, tuple[int, str]]:
    """The number and the hash of the last entry of each chain."""
    rows = await work.execute(select(AuditChain.chain, AuditChain.number, AuditChain.hash))
    return {row.chain: (row.number, row.hash) for row in rows}


async def _by_chain(work: AsyncSession) -> AsyncIterator[dict[str, Any]]:
    columns = [getattr(AuditEntry, name) for name in (*_LINKED, "hash")]
    rows = await work.stream(
        select(*columns)
        .order_by(AuditEntry.chain, AuditEntry.number)
        .execution_options(yield_per=_BATCH)
    )
    async for row in rows.mappings():
        yield dict(row)


def _missing(first: int, last: int) -> str:
    if last < first:
        return f"entry {last + 1} is there twice"
    return (
        f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
    )
