"""The audit log: who did what, on whom, when, and what was refused. Only ever added to.

Every entry is written in the transaction of what it records, and carries the hash of the entry
before it in its chain, so that a change or a removal shows. There are several chains, and a
transaction takes one that is free: with one alone, all that the issuer does would wait in a
single queue (docs/decisions/0007-audit-chains.md). No entry holds a token or a password.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.users.store import AuditChain, AuditEntry, table_of

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

# Made once, since every exchange waits for them. A chain that is taken is ours until the
# transaction ends.
_ENTRIES: Final = table_of(AuditEntry)
_CHAINS: Final = table_of(AuditChain)
_END: Final = select(_CHAINS.c.chain, _CHAINS.c.number, _CHAINS.c.hash)
_TAKE_FREE: Final = _END.limit(1).with_for_update(skip_locked=True)
_TAKE_ANY: Final = _END.order_by(func.random()).limit(1).with_for_update()
_ADD: Final = insert(_ENTRIES)
_ADVANCE: Final = (
    update(_CHAINS)
    .where(_CHAINS.c.chain == bindparam("of"))
    .values(number=bindparam("to"), hash=bindparam("by"))
)


class What(StrEnum):
    """What an entry is about."""

    REGISTER = "register"
    SIGN_IN = "sign_in"
    REFRESH = "refresh"
    CLIENT_CREDENTIALS = "client_credentials"
    EXCHANGE = "exchange"
    INTROSPECT = "introspect"
    AUTHORIZE = "authorize"
    REDEEM_CODE = "redeem_code"
    ALLOW_DEVICE = "allow_device"
    DENY_DEVICE = "deny_device"
    REDEEM_DEVICE = "redeem_device"
    ADD_CLIENT = "add_client"
    REMOVE_CLIENT = "remove_client"
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
    RETIRE_KEY = "retire_key"
    ADOPT_KEY_SET = "adopt_key_set"
    RELEASE = "release"
    DISCARD = "discard"
    RENEW_FEED = "renew_feed"


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
    connection = await work.connection()
    free = (await connection.execute(_TAKE_FREE)).first()
    # Where none is free: whichever it is, it will be before long.
    end = free or (await connection.execute(_TAKE_ANY)).one()
    values: dict[str, Any] = {
        "chain": end.chain,
        "number": end.number + 1,
        "at": at,
        "what": entry.what.value,
        "outcome": entry.outcome,
        "who": _plain(entry.who),
        "client": entry.client,
        "whom": entry.whom,
        "session": entry.session,
        "why": None if entry.why is None else _plain(entry.why),
        "origin": entry.origin,
        "request_id": entry.request_id,
        "previous": end.hash,
    }
    values["hash"] = link(values)
    await connection.execute(_ADD, values)
    await connection.execute(
        _ADVANCE, {"of": end.chain, "to": values["number"], "by": values["hash"]}
    )


def _plain(text: str) -> str:
    """One line that every database and terminal takes: some of it was typed by strangers."""
    printable = (char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return "".join(printable)[:_LONGEST]


def link(values: Mapping[str, Any]) -> str:
    """The hash of an entry with all its values and, by `previous`, of those before it.

    SHA-256 in hexadecimal over the JSON array of the values in the order of an export's members,
    without white space, in ASCII.
    """
    state = json.dumps([values[name] for name in _LINKED], separators=(",", ":"))
    return hashlib.sha256(state.encode()).hexdigest()


async def export(
    work: AsyncSession, *, since: int = 0, where: Sequence[ColumnElement[bool]] = ()
) -> AsyncIterator[dict[str, Any]]:
    """The entries from a time on, in the order in which they were written.

    where: what holds of them besides (`services.users.audit_search`).
    """
    columns = [_ENTRIES.c[name] for name in (*_LINKED, "hash")]
    last = 0
    while True:
        rows = (
            await work.execute(
                select(_ENTRIES.c.id, *columns)
                .where(_ENTRIES.c.id > last, _ENTRIES.c.at >= since, *where)
                .order_by(_ENTRIES.c.id)
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
    return {row.chain: (row.number, row.hash) for row in await work.execute(_END)}


async def _by_chain(work: AsyncSession) -> AsyncIterator[dict[str, Any]]:
    rows = await work.stream(
        select(*(_ENTRIES.c[name] for name in (*_LINKED, "hash")))
        .order_by(_ENTRIES.c.chain, _ENTRIES.c.number)
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
