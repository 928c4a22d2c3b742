"""Idempotency keys: the same key stands for the same request, and so for the same message."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import delete, select

from messaging.database import Database
from messaging.errors import DatabaseUnavailableError
from messaging.pause import first_of
from messaging.upsert import insert_into
from services.gateway.store import KEYS

LIFE: Final = timedelta(hours=48)
"""Longer than any command may wait, so that a key outlives the work that it stands for."""
PRUNE_EVERY: Final = timedelta(hours=1)

log = structlog.get_logger(__name__)


class KeyReusedError(Exception):
    """The key belongs to another request of the same subject."""


def message_id_of(client_id: str, subject: str, key: str) -> str:
    """The id of the message that the key stands for: a UUID, version 8 (RFC 9562 §5.8)."""
    digest = bytearray(_digest(client_id, subject, key)[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


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


class IdempotencyKeys:
    """The keys of the last 48 hours.

    A key that is older may still be repeated: its message id is derived from it, and the
    receiver keeps that for ever.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    async def claim(self, subject: str, key: str, request_hash: str, message_id: str) -> None:
        """Let the key stand for this request, or find that it already does.

        Of two requests at once one writes the row, and the other one reads it.

        Raises:
            KeyReusedError: it stands for another request.
            DatabaseUnavailableError: nothing was claimed.
        """
        now = int(self._clock())
        row = {
            "request_hash": request_hash,
            "message_id": message_id,
            "accepted_at": now,
            "expires_at": now + int(LIFE.total_seconds()),
        }
        async with self._database.transaction() as session:
            await session.execute(
                insert_into(session, KEYS)
                .values(sub=subject, key=key, **row)
                .on_conflict_do_update(
                    index_elements=[KEYS.c.sub, KEYS.c.key],
                    set_=row,
                    where=KEYS.c.expires_at <= now,
                )
            )
            held = select(KEYS.c.request_hash).where(KEYS.c.sub == subject, KEYS.c.key == key)
            if await session.scalar(held) != request_hash:
                raise KeyReusedError

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
