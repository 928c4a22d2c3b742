"""How an operator's command reaches the user service's database, and its keys."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import Field, SecretStr

from auth.errors import KeySetError
from auth.keyset import TrustRoot
from messaging.database import open_database
from messaging.migrations import upgrade
from messaging.rpc import Refused
from services.authority import KEY_SET, KEYS, TRUST_ROOT
from services.contracts.scopes import ROLES
from services.contracts.topology import USER_SERVICE
from services.declared import DECLARED, read_all_declared, roles_with
from services.errors import StartError
from services.keyring import ISSUER
from services.operations.places import (
    DECLARED_FOLDER,
    KEY_SET_FILE,
    STATE_FOLDER,
    TRUST_ROOT_FILE,
)
from services.settings import KEY_OPENER, Settings, read_settings
from services.users.assembly import Register, open_register
from services.users.keyfolder import KeyFolder
from services.users.passwords import Passwords
from services.users.rotation import Rotation
from services.users.scope import Roles
from services.users.session_life import SessionLife
from services.users.settings import (
    SESSION_IDLE,
    SESSION_LIFE,
    LongestSession,
    LongestUnrefreshed,
)
from services.users.signing import IssuerKeys
from services.users.store import MIGRATIONS
from services.users.trust import IssuerTrust

T = TypeVar("T")


class IssuerSettings(Settings):
    """Where things are: each at its own place, or in the local stack's state folder."""

    state: Path = Field(default=Path(".carnet"), description=STATE_FOLDER)
    database_url: SecretStr | None = Field(
        default=None, description="The user service's database; else the one in CARNET_STATE"
    )
    trust_root: Path | None = Field(default=None, description=TRUST_ROOT_FILE)
    key_set: Path | None = Field(default=None, description=KEY_SET_FILE)
    keys: Path | None = Field(
        default=None, description="Folder with the client's own private keys; else in CARNET_STATE"
    )
    key_passphrase: SecretStr | None = Field(default=None, description=KEY_OPENER)
    session_life: LongestSession = SESSION_LIFE
    session_idle: LongestUnrefreshed = SESSION_IDLE
    services: Path | None = Field(default=None, description=DECLARED_FOLDER)


@dataclass(frozen=True, slots=True)
class IssuerParts:
    """What a command works with that changes the issuer's key."""

    register: Register
    keys: IssuerKeys
    rotation: Rotation


def on_register(work: Callable[[Register], Awaitable[T]], *, with_services: bool = False) -> T:
    """Do the work on the database, brought up to date before.

    with_services: whether what services of one's own declare matters to it. What ends access
        shall not fail at a declaration.

    Raises:
        StartError: there is none, or the work was refused, as the user service would refuse it.
    """
    settings = read_settings(IssuerSettings)
    declared = settings.services or settings.state / DECLARED
    roles = roles_with(read_all_declared(declared)) if with_services else ROLES

    async def run() -> T:
        async with _register(settings, roles) as register:
            return await work(register)

    return _run(run)


def on_issuer(work: Callable[[IssuerParts], Awaitable[T]]) -> T:
    """Do the work with the issuer's keys, under the newest key set statement.

    Raises:
        StartError, KeySetError, KeyFileError: something is missing or was refused.
    """
    settings = read_settings(IssuerSettings)

    async def run() -> T:
        async with _register(settings) as register:
            return await work(await _issuer(settings, register))

    return _run(run)


def _run(work: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        return await work()

    try:
        return asyncio.run(run())
    except Refused as refused:
        raise StartError(refused.detail) from refused


@asynccontextmanager
async def _register(settings: IssuerSettings, roles: Roles = ROLES) -> AsyncIterator[Register]:
    url = _database_url(settings)
    await upgrade(url, MIGRATIONS)
    database = open_database(url)
    try:
        yield open_register(
            database,
            Passwords(),
            clock=time.time,
            life=SessionLife(settings.session_life, settings.session_idle),
            roles=roles,
        )
    finally:
        await database.close()


async def _issuer(settings: IssuerSettings, register: Register) -> IssuerParts:
    root = settings.trust_root or settings.state / TRUST_ROOT
    try:
        trust_root = TrustRoot.from_json(root.read_bytes())
    except OSError as error:
        raise StartError(f"{root}: cannot read: {error.strerror}") from error
    except KeySetError as error:
        raise KeySetError(f"{root}: {error.detail}") from error
    statement = settings.key_set or settings.state / KEY_SET
    trust = IssuerTrust(trust_root, statement, register.database, clock=time.time)
    await trust.start()
    passphrase = settings.key_passphrase
    folder = KeyFolder(
        (settings.keys or settings.state / KEYS / USER_SERVICE) / ISSUER,
        None if passphrase is None else passphrase.get_secret_value().encode(),
    )
    keys = IssuerKeys(folder, trust, register.database, clock=time.time)
    rotation = Rotation(
        keys, trust, register.acts, register.database, life=timedelta(0), clock=time.time
    )
    return IssuerParts(register, keys, rotation)


def _database_url(settings: IssuerSettings) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    if not settings.state.is_dir():
        raise StartError(
            f"no database: set CARNET_DATABASE_URL, or CARNET_STATE to the folder of a local "
            f"stack ({settings.state} is none)"
        )
    data = settings.state / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    return f"sqlite+aiosqlite:///{data / 'users.db'}"
