"""Device codes: a device waits, its user allows it elsewhere, and it gets its tokens (RFC 8628).

Neither that a device starts, nor that it asks in vain, nor that somebody guesses a user code is
written to the audit log: anybody may do these for ever. What a user decides is, and what comes of
it.
"""

import secrets
from collections.abc import Callable
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from messaging.database import Database
from messaging.rpc import Refused
from services.contracts.authorization import (
    AllowDevice,
    DenyDevice,
    DescribedDevice,
    DescribeDevice,
    DeviceStarted,
    RedeemDevice,
    StartDevice,
)
from services.users.acts import Act, Acts, Asker
from services.users.attempts import Attempts
from services.users.audit import What
from services.users.clients import Clients, granted
from services.users.sessions import Ended, Opened, Sessions, digest_of
from services.users.sign_in import Credentials, SignIns
from services.users.store import DeviceCode, PublicClient, Session

LIFE: Final = 600
"""Seconds that a device waits."""
INTERVAL: Final = 5
"""Seconds between two questions of a device, and by how many more it is told to slow down."""
LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""Of user codes: no vowels, so that none is a word (RFC 8628 §6.1)."""
LENGTH: Final = 8
"""20 ** 8 codes: of the few that wait at a time nobody finds one within a few guesses."""
STARTS: Final = 100
"""Devices that may begin to wait in an hour, from one origin."""

_SLACK: Final = 1
"""Seconds by which whole ones make an interval look too short."""


class UnknownUserCodeError(Refused):
    def __init__(self) -> None:
        super().__init__("unknown_user_code", "no device waits that shows this code, or not now")


class Devices:
    def __init__(
        self,
        *,
        database: Database,
        acts: Acts,
        clients: Clients,
        attempts: Attempts,
        sign_ins: SignIns,
        sessions: Sessions,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._acts = acts
        self._clients = clients
        self._attempts = attempts
        self._sign_ins = sign_ins
        self._sessions = sessions
        self._clock = clock

    async def start(self, request: StartDevice) -> DeviceStarted:
        """Have a device wait.

        Raises:
            Refused: `invalid_client`, `unauthorized_client`, `invalid_scope`, `too_many_attempts`.
        """
        device_code = secrets.token_urlsafe(32)
        async with self._database.transaction() as work:
            client = await self._clients.need(work, request.client_id)
            if not client.devices:
                raise Refused("unauthorized_client", "this client is not for devices")
            scope = granted(client, request.scope)
            origin = await self._acts.pseudonyms.of_origin(work, request.origin)
            wait = await self._attempts.wait_for(work, "device", origin, most=STARTS)
            if not wait:
                user_code = self._insert(work, client, device_code, scope)
        if wait:
            raise Refused(
                "too_many_attempts", "too many devices began there lately", retry_after=wait
            )
        return DeviceStarted(
            device_code=device_code,
            user_code=f"{user_code[:4]}-{user_code[4:]}",
            expires_in=LIFE,
            interval=INTERVAL,
        )

    async def describe(self, request: DescribeDevice) -> DescribedDevice:
        """What the device with a user code asks for; a wrong code counts as a guess.

        Raises:
            UnknownUserCodeError
        """
        device, client = await self._look(request.user_code, request.origin)
        code = _normal(request.user_code)
        return DescribedDevice(
            user_code=f"{code[:4]}-{code[4:]}",
            client_id=client.client_id,
            title=client.title,
            scopes=tuple((device.scope or "").split()),
        )

    async def allow(self, asker: Asker, request: AllowDevice) -> str:
        """Sign the user in for the device that shows the code; what its client is called.

        Raises:
            Refused: `invalid_credentials`, `unknown_user_code`, `invalid_scope`.
        """
        credentials = Credentials(request.name, request.password, request.origin)
        signing_in = self._sign_ins.admitted(asker, What.ALLOW_DEVICE, credentials)
        async with signing_in as (act, account):
            device, client = await self._waiting(act, request.user_code)
            session = await self._sessions.begin(act, account, client.client_id, device.scope)
            device.sid = session.sid
        return client.title

    async def deny(self, asker: Asker, request: DenyDevice) -> str:
        """Have the device told that its user does not want it.

        Raises:
            UnknownUserCodeError
        """
        await self._look(request.user_code, request.origin)
        async with self._acts.of(asker, What.DENY_DEVICE, origin=request.origin) as act:
            device, client = await self._waiting(act, request.user_code)
            device.denied = True
        return client.title

    async def redeem(self, asker: Asker, request: RedeemDevice) -> Opened:
        """Spend the device code for the first tokens of the session that its user allowed.

        Raises:
            Refused: `authorization_pending`, `slow_down`, `access_denied`, `expired_token`,
                `invalid_client`, `invalid_grant`.
        """
        async with self._database.transaction() as work:
            await self._clients.need(work, request.client_id)
            device = await _of_device(work, request)
            refusal = None if device is None else _not_yet(device, int(self._clock()))
            if device is not None:
                device.asked_at = int(self._clock())
        if device is None:
            raise _refused()
        if refusal is not None:
            raise refusal
        async with self._acts.of(asker, What.REDEEM_DEVICE) as act:
            return await self._spend(act, request)

    async def prune(self) -> None:
        """Forget the devices that wait no more, with the sessions that nobody came for."""
        now = int(self._clock())
        async with self._database.transaction() as work:
            over = (DeviceCode.spent_at.is_(None), DeviceCode.expires_at < now - LIFE)
            allowed = select(DeviceCode.sid).where(*over, DeviceCode.sid.is_not(None))
            await work.execute(delete(Session).where(Session.sid.in_(allowed)))
            await work.execute(delete(DeviceCode).where(*over))

    def _insert(
        self, work: AsyncSession, client: PublicClient, device_code: str, scope: str
    ) -> str:
        now = int(self._clock())
        user_code = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
        work.add(
            DeviceCode(
                digest=digest_of(device_code),
                user_code=digest_of(user_code),  # unique: the database takes none twice
                client_id=client.client_id,
                scope=scope,
                expires_at=now + LIFE,
                interval=INTERVAL,
                asked_at=0,
                denied=False,
            )
        )
        return user_code

    async def _look(
        self, unverified_code: str, unverified_origin: str | None
    ) -> tuple[DeviceCode, PublicClient]:
        """The device that waits with this code, and its client; a wrong code counts as a guess.

        Raises:
            UnknownUserCodeError
        """
        async with self._database.transaction() as work:
            origin = await self._acts.pseudonyms.of_origin(work, unverified_origin)
            found = await self._found(work, unverified_code, origin)
        if found is None:  # raised out here, so that the guess is counted
            raise UnknownUserCodeError
        return found

    async def _found(
        self, work: AsyncSession, unverified_code: str, origin: str | None
    ) -> tuple[DeviceCode, PublicClient] | None:
        device = await self._guess(work, unverified_code, origin)
        client = None if device is None else await self._clients.find(work, device.client_id)
        return None if device is None or client is None else (device, client)

    async def _guess(
        self, work: AsyncSession, unverified_code: str, origin: str | None
    ) -> DeviceCode | None:
        """The device that waits with this code, if there is one and it may be told."""
        found = await _of_user(work, unverified_code, int(self._clock()))
        right = await self._attempts.guess(work, "user-code", origin, right=found is not None)
        return found if right else None

    async def _waiting(self, act: Act, unverified_code: str) -> tuple[DeviceCode, PublicClient]:
        """The device that its user decides about, locked; and its client.

        Raises:
            UnknownUserCodeError
        """
        found = await self._found(act.work, unverified_code, act.entry.origin)
        if found is None:
            raise UnknownUserCodeError
        act.entry.why = found[1].client_id
        return found

    async def _spend(self, act: Act, request: RedeemDevice) -> Opened:
        device = await _of_device(act.work, request)
        if device is None or device.sid is None:  # removed meanwhile
            raise _refused()
        session = await self._sessions.find(act.work, device.sid)
        if session is None:
            raise _refused()
        act.entry.whom, act.entry.session = session.sub, session.sid
        if device.spent_at is not None:
            act.entry.why = Ended.CODE_REUSED
            await self._sessions.end(act, session.sid, Ended.CODE_REUSED)
            raise _refused()
        opened = await self._sessions.first(act, session)
        if opened is None:
            raise _refused()
        device.spent_at = act.now
        act.entry.who = session.sub
        return opened


async def _of_user(work: AsyncSession, unverified_code: str, now: int) -> DeviceCode | None:
    waiting = select(DeviceCode).where(
        DeviceCode.user_code == digest_of(_normal(unverified_code)),
        DeviceCode.expires_at > now,
        DeviceCode.denied.is_(False),
        DeviceCode.sid.is_(None),
    )
    return await work.scalar(waiting.with_for_update())


async def _of_device(work: AsyncSession, request: RedeemDevice) -> DeviceCode | None:
    of_client = select(DeviceCode).where(
        DeviceCode.digest == digest_of(request.device_code),
        DeviceCode.client_id == request.client_id,
    )
    return await work.scalar(of_client.with_for_update())


def _not_yet(device: DeviceCode, now: int) -> Refused | None:
    """Why the device gets no tokens now, if so; who asks too fast has to be slower from now on."""
    if device.spent_at is not None:
        return None  # which ends its session
    if device.denied:
        return Refused("access_denied", "the user does not want this device")
    if now >= device.expires_at:
        return Refused("expired_token", "nobody allowed this device in time; begin anew")
    if device.sid is not None:
        return None
    if now - device.asked_at < device.interval - _SLACK:
        # "the interval MUST be increased by 5 seconds for this and all subsequent requests"
        device.interval += INTERVAL
        return Refused("slow_down", f"ask every {device.interval} s at most")
    return Refused("authorization_pending", "the user has not decided yet")


def _normal(unverified_code: str) -> str:
    """What was meant by what was typed: case and all but letters are the reader's (§6.1)."""
    return "".join(char for char in unverified_code.upper() if char in LETTERS)


def _refused() -> Refused:
    return Refused("invalid_grant", "the device code is not valid, or no longer")
