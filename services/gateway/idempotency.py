"""Idempotency keys: the same key stands for the same request, and so for the same message."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from messaging.database import Database
from messaging.errors import DatabaseUnavailableError
from messaging.pause import first_of
from messaging.upsert import insert_into
from services.gateway.store import KEYS

LIFE: Final = timedelta(hours=48)
"""Longer than any command may wait, so that a key outlives the work that it stands for."""
PRUNE_EVERY: Final = timedelta(hours=1)
TOGETHER: Final = 200
"""Most keys that are claimed in one transaction."""

log = structlog.get_logger(__name__)


class KeyReusedError(Exception):
    """The key belongs to another request of the same subject."""


def message_id_of(client_id: str, subject: str, key: str) -> str:
    """The id of the message that the key stands for: a UUID, version 8 (RFC 9562 §5.8)."""
    digest = bytearray(_digest(client_id, subject, key)[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()  # by hand: a `UUID` takes as long as all else here
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def request_hash_of(method: str, path: str, body: bytes) -> str:
    """What makes two requests the same."""
    return _digest(method, path, body).hex()


def _digest(*parts: str | bytes) -> bytes:
    """SHA-256 over the parts, each after its length: no two lists of parts look alike."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big") + data)
    return state.digest()


@dataclass(frozen=True, slots=True)
class _Claim:
    """A row that is to be written, and who waits for the hash that its key then stands for."""

    row: dict[str, Any]
    held: asyncio.Future[str]

    @property
    def place(self) -> tuple[str, str]:
        return self.row["sub"], self.row["key"]


def _claiming(session: AsyncSession) -> ReturningInsert[str, str]:
    """Write the rows whose key is new, or over; return those keys."""
    insert = insert_into(session, KEYS)
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=[KEYS.c.sub, KEYS.c.key],
        set_={
            name: new[name] for name in ("request_hash", "message_id", "accepted_at", "expires_at")
        },
        where=KEYS.c.expires_at <= new.accepted_at,
    ).returning(KEYS.c.sub, KEYS.c.key)


class IdempotencyKeys:
    """The keys of the last 48 hours.

    A key that is older may still be repeated: its message id is derived from it, and the
    receiver keeps that for ever.

    What is claimed while a transaction runs shares the next one: under load a request does not
    pay for a commit of its own, and a lone one does not wait for others.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[_Claim] = []
        self._writing: asyncio.Task[None] | None = None
        self._claiming: ReturningInsert[str, str] | None = None

    async def claim(self, subject: str, key: str, request_hash: str, message_id: str) -> None:
        """Let the key stand for this request, or find that it already does.

        Of two requests at once one writes the row, and the other one reads it.

        Raises:
            KeyReusedError: it stands for another request.
            DatabaseUnavailableError: nothing was claimed.
        """
        now = int(self._clock())
        row = {
            "sub": subject,
            "key": key,
            "request_hash": request_hash,
            "message_id": message_id,
            "accepted_at": now,
            "expires_at": now + int(LIFE.total_seconds()),
        }
        claim = _Claim(row, asyncio.get_running_loop().create_future())
        self._waiting.append(claim)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="idempotency keys")
        if await claim.held != request_hash:
            raise KeyReusedError

    async def _write(self) -> None:
        """Claim what waits, until nothing does."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                try:
                    held = await self._claim_all(batch)
                except Exception as error:  # noqa: BLE001 - whoever waits is to know
                    for claim in batch:
                        if not claim.held.done():
                            claim.held.set_exception(error)
                else:
                    for claim in batch:
                        if not claim.held.done():  # else its request was cut off meanwhile
                            claim.held.set_result(held[claim.place])
        finally:
            self._writing = None

    async def _claim_all(self, claims: Sequence[_Claim]) -> dict[tuple[str, str], str]:
        """The hash that each key stands for, once that is stored."""
        # Of several claims of one key the first one is stored. In one order everywhere: replicas
        # that claim the same keys wait, and never for each other.
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for claim in sorted(claims, key=lambda claim: claim.place):
            rows.setdefault(claim.place, claim.row)
        async with self._database.transaction() as session:
            if self._claiming is None:  # once: to make it takes a fifth of the time of using it
                self._claiming = _claiming(session)
            written = await session.execute(self._claiming, list(rows.values()))
            held = {(sub, key): rows[sub, key]["request_hash"] for sub, key in written}
            if others := rows.keys() - held.keys():
                stored = await session.execute(
                    select(KEYS.c.sub, KEYS.c.key, KEYS.c.request_hash).where(
                        tuple_(KEYS.c.sub, KEYS.c.key).in_(sorted(others))
                    )
                )
                held |= {(sub, key): request_hash for sub, key, request_hash in stored}
        return held

    async def prune(self) -> None:
        """Forget the keys that are over.

        Raises:
            DatabaseUnavailableError: nothing was forgotten.
        """
        async with self._database.transaction() as session:
            await session.execute(delete(KEYS).where(KEYS.c.expires_at <= int(self._clock())))

    async def keep_pruned(self, shutdown: asyncio.Event) -> None:
        """Prune now, and every hour until `shutdown`."""
        stopped = False
        while not stopped:
            try:
                await self.prune()
            except DatabaseUnavailableError as error:
                log.warning("idempotency_keys_not_pruned", detail=error.detail)
            stopped = await first_of(shutdown, timeout=PRUNE_EVERY.total_seconds())
