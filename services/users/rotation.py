"""How the issuer changes its key: to one that the trust root has listed, and in good time.

By schedule, by an operator, or at once where the one that signs was withdrawn. The root's private
key is not needed: it has listed the next keys before.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.keyset import KeySet, KeyState, ListedKey
from auth.trust import TrustSource
from messaging.database import Database
from messaging.errors import DatabaseUnavailableError
from messaging.pause import first_of
from messaging.rpc import Refused
from services.users.acts import Act, Acts, Asker
from services.users.audit import What
from services.users.signing import IssuerKeys, choose, may_sign, put_away, signing_kid
from services.users.store import IssuerKey

KNOWN_AFTER: Final = 30
"""Seconds for which a key is listed before it signs: until then not everybody may have heard."""

KNOWN_IN_NEED: Final = 2
"""The same where nothing else may sign any more, and waiting would silence the issuer."""

EVERY: Final = 1.0
"""Seconds between two looks at whether it is time."""

REMIND: Final = 600.0
"""Seconds between two warnings that it is time and cannot be done."""

BY_HAND: Final = "by hand"
"""Why a key was replaced that an operator has replaced."""

log = structlog.get_logger(__name__)


class NoNextKeyError(Refused):
    def __init__(self, detail: str) -> None:
        super().__init__("no_next_key", detail)


class UnknownKeyError(Refused):
    def __init__(self) -> None:
        super().__init__("unknown_key", "the issuer has no such key; see: carnet keys list")


@dataclass(frozen=True, slots=True)
class KeyView:
    """One of the issuer's keys as an operator sees it.

    state: as the statement lists it, None where it does so no more.   since, retired_at: when it
    began and ceased to sign.   here: whether the private key is in the folder.
    """

    kid: str
    state: KeyState | None
    since: int | None
    retired_at: int | None
    signing: bool
    here: bool


class Rotation:
    def __init__(
        self,
        keys: IssuerKeys,
        trust: TrustSource,
        acts: Acts,
        database: Database,
        *,
        life: timedelta,
        clock: Callable[[], float],
    ) -> None:
        """life: after which a key is replaced; zero for never."""
        self._keys = keys
        self._trust = trust
        self._acts = acts
        self._database = database
        self._life = life.total_seconds()
        self._clock = clock
        self._warned: tuple[str, float] | None = None

    async def rotate(
        self, act: Act, *, why: str, instead_of: str | None = None, in_need: bool = False
    ) -> str:
        """Let the next key sign once the act is committed, and return its id.

        instead_of: the key that must still be the one that signs.
        in_need: whether the present one may not sign any more.

        Raises:
            NoNextKeyError: none that may sign; says what to do.
            Refused: `rotated_meanwhile`.
        """
        present = await self._present(act)
        if instead_of not in {None, present}:
            raise _rotated_meanwhile()
        act.entry.whom = await self._replace(act, present, why=why, in_need=in_need)
        act.entry.why = why
        return act.entry.whom

    async def retire(self, act: Act, kid: str) -> str:
        """Have a key never sign, or never again, and return the id of the one that signs then.

        The next one does where it is the one that signs now. What it has signed is believed as
        before, and a statement that lists it does not change: that is for the trust root.

        Raises:
            UnknownKeyError: there is and was none such.
            NoNextKeyError: none that may sign in its place; says what to do.
            Refused: `rotated_meanwhile`.
        """
        present = await self._present(act)  # held, so that it is not chosen meanwhile
        if not kid.isprintable() or await act.work.get(IssuerKey, kid) is None:
            raise UnknownKeyError
        act.entry.whom = kid
        if kid == present:
            signing = await self._replace(act, present, why=BY_HAND)
            act.entry.why = f"{signing} signs now"
            return signing
        await put_away(act.work, kid, now=act.now)
        return present

    async def rotate_if_due(self) -> None:
        """Rotate if the present key is withdrawn, retired by the statement, or old enough.

        Raises:
            DatabaseUnavailableError: it cannot be known.
        """
        async with self._database.session() as work:
            present = await work.scalar(select(IssuerKey).where(IssuerKey.signing.is_(True)))
            if present is None:
                return
            listed = self._trust.key_set.issuer_keys.get(present.kid)
            why = self._why(present, listed)
            if why is None:
                return
            in_need = listed is None or not may_sign(listed, now=self._clock())
            try:
                await self._next(work, present.kid, in_need=in_need)
            except NoNextKeyError as hindrance:
                self._warn(hindrance.detail)
                return
        with contextlib.suppress(Refused):  # another replica was faster
            async with self._acts.of(Asker.itself(), What.ROTATE_KEY) as act:
                await self.rotate(act, why=why, instead_of=present.kid, in_need=in_need)

    async def run(self, shutdown: asyncio.Event) -> None:
        """Rotate when it is time, until `shutdown`."""
        while not await first_of(shutdown, timeout=EVERY):
            try:
                await self.rotate_if_due()
            except DatabaseUnavailableError as error:
                log.warning("rotation_waits", code=error.code, detail=error.detail)

    async def view(self) -> list[KeyView]:
        """All keys that the issuer has or had, the oldest first."""
        async with self._database.session() as work:
            rows = (await work.scalars(select(IssuerKey))).all()
        held = self._keys.folder.look()
        listed = self._trust.key_set.issuer_keys
        rows = sorted(rows, key=lambda row: (row.since or row.listed_at, row.listed_at))
        return [
            KeyView(
                kid=row.kid,
                state=listed[row.kid].state if row.kid in listed else None,
                since=row.since,
                retired_at=row.retired_at,
                signing=bool(row.signing),
                here=row.kid in held,
            )
            for row in rows
        ]

    async def _present(self, act: Act) -> str:
        """The key that signs, and goes on to do so until the act ends."""
        present = await signing_kid(act.work, lock=True)
        if present is None:
            raise _rotated_meanwhile()
        return present

    async def _replace(self, act: Act, present: str, *, why: str, in_need: bool = False) -> str:
        kid = await self._next(act.work, present, in_need=in_need)
        await choose(act.work, kid, now=act.now)

        def tell(_: object) -> None:
            self._keys.forget()
            log.info("issuer_key_rotated", kid=kid, instead_of=present, why=why)

        event.listen(act.work.sync_session, "after_commit", tell, once=True)
        return kid

    async def _next(self, work: AsyncSession, present: str, *, in_need: bool) -> str:
        rows = {row.kid: row for row in await work.scalars(select(IssuerKey))}
        held = self._keys.folder.look()
        known_after = KNOWN_IN_NEED if in_need else KNOWN_AFTER
        hindrance = "no next key is listed; list one with: carnet trust rotate issuer"
        for kid in _in_turn(self._trust.key_set):
            row = rows.get(kid)
            if row is None or kid == present or row.retired_at is not None:
                continue
            if kid not in held:
                hindrance = f"the private key of {kid} is not in {self._keys.folder.folder}"
            elif self._clock() < row.listed_at + known_after:
                hindrance = f"{kid} was listed less than {known_after} s ago; try again then"
            else:
                return kid
        raise NoNextKeyError(hindrance)

    def _why(self, present: IssuerKey, listed: ListedKey | None) -> str | None:
        """Why it is time for another key, if it is."""
        if listed is None:
            return "withdrawn"
        if listed.state == "retired":
            return "retired"
        due_at = (present.since or 0) + self._life
        return "schedule" if self._life and due_at <= self._clock() else None

    def _warn(self, detail: str) -> None:
        now = self._clock()
        if self._warned is None or self._warned[0] != detail or now >= self._warned[1] + REMIND:
            self._warned = (detail, now)
            log.warning("issuer_key_not_rotated", detail=detail)


def _rotated_meanwhile() -> Refused:
    return Refused("rotated_meanwhile", "another rotation came first")


def _in_turn(key_set: KeySet) -> list[str]:
    """The keys that may follow, in the order in which they should."""
    listed = key_set.issuer_keys.items()
    active = [kid for kid, key in listed if key.state == "active"]
    return active + [kid for kid, key in listed if key.state == "next"]
