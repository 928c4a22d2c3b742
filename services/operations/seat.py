"""An operator's seat at the desk, for a command: where things are, and a session while it runs.

Who sits there signs in with name and password.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr

from auth.encryption import DecryptionKey
from auth.errors import KeySetError
from auth.keyset import KeySet, TrustRoot
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.errors import MessagingError
from messaging.publisher import Publisher
from messaging.rpc import RpcClient, RpcRefusedError
from services.authority import KEY_SET, KEYS, TRUST_ROOT
from services.contracts.topology import OPERATOR_DESK, USER_SERVICE
from services.contracts.users import Refresh, SignIn, SignOut, Tokens
from services.errors import StartError
from services.identity import ENCRYPTION_KEY, RotatingSealer
from services.local.logins import OPERATOR
from services.local.running import told
from services.operations.desk import DEADLINE, Desk
from services.operations.places import KEY_SET_FILE, OPERATOR_URL, STATE_FOLDER, TRUST_ROOT_FILE
from services.settings import KEY_OPENER, Settings, read_settings

RENEW: Final = 120.0
"""Seconds before its end at which the access token is renewed."""

_KEPT_URL: Final = Path("rabbitmq", "operator.url")
"""Where `make secrets` keeps the operator's URL of its broker."""


class DeskSettings(Settings):
    """Where things are: each at its own place, or in the local stack's state folder."""

    state: Path = Field(default=Path(".carnet"), description=STATE_FOLDER)
    operator_url: SecretStr | None = Field(default=None, description=OPERATOR_URL)
    trust_root: Path | None = Field(default=None, description=TRUST_ROOT_FILE)
    key_set: Path | None = Field(default=None, description=KEY_SET_FILE)
    keys: Path | None = Field(
        default=None, description="Folder with the client's own private keys; else in CARNET_STATE"
    )
    key_passphrase: SecretStr | None = Field(default=None, description=KEY_OPENER)

    @property
    def broker_url(self) -> str:
        """The broker's URL for a login that may read dead letters and write retries.

        Raises:
            StartError: none is given.
        """
        if self.operator_url is not None:
            return self.operator_url.get_secret_value()
        running = told(self.state, OPERATOR)
        if running is not None:
            return running["CARNET_AMQP_URL"]
        with suppress(FileNotFoundError):
            return (self.state / _KEPT_URL).read_text(encoding="utf-8").strip()
        raise StartError(
            "no broker: set CARNET_OPERATOR_URL to its URL for a login that may do anything, or "
            f"CARNET_STATE to the folder of a local stack that runs (none does in {self.state})"
        )

    def read_key_set(self) -> KeySet:
        """The key set statement.

        Raises:
            StartError: a file cannot be read.
            KeySetError: it is not to be believed.
        """
        root = self.trust_root or self.state / TRUST_ROOT
        statement = self.key_set or self.state / KEY_SET
        try:
            trust_root = TrustRoot.from_json(root.read_bytes())
            return trust_root.verify(statement.read_text(encoding="ascii"), now=time.time())
        except OSError as error:
            raise StartError(
                f"{error.filename}: cannot read: {error.strerror}; name the files with "
                "CARNET_TRUST_ROOT and CARNET_KEY_SET, or their folder with CARNET_STATE"
            ) from error
        except UnicodeDecodeError as error:
            raise KeySetError(f"{statement}: is no statement") from error


@dataclass(frozen=True, slots=True)
class Operator:
    """Who sits at the desk."""

    name: str
    password: SecretStr


@asynccontextmanager
async def connected(settings: DeskSettings) -> AsyncIterator[Broker]:
    """The broker, for reading.

    Raises:
        StartError, BrokerError: there is none.
    """
    broker = Broker(settings.broker_url, name=OPERATOR_DESK)
    await broker.start(DEADLINE)
    try:
        yield broker
    finally:
        await broker.close(DEADLINE)


class Sitting:
    """The session of who sits there, renewed for as long as the command runs."""

    def __init__(self, rpc: RpcClient, tokens: Tokens) -> None:
        self._rpc = rpc
        self._hold(tokens)
        self._renewing = asyncio.Lock()

    async def access_token(self) -> str:
        """One that still counts for a while.

        Raises:
            RpcRefusedError, RpcTimeoutError, BrokerError, PublishError: it cannot be renewed.
        """
        async with self._renewing:
            if time.monotonic() >= self._renew_at:
                request = Refresh(refresh_token=self._tokens.refresh_token or "")
                answer = await self._rpc.call(request, responder=USER_SERVICE, deadline=DEADLINE)
                self._hold(answer)
        return self._tokens.access_token

    async def leave(self) -> None:
        """End the operator's session; where that cannot be told, it ends by itself."""
        with suppress(MessagingError):
            request = SignOut(access_token=self._tokens.access_token)
            await self._rpc.call(request, responder=USER_SERVICE, deadline=DEADLINE)

    def _hold(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._renew_at = time.monotonic() + tokens.expires_in - RENEW


@asynccontextmanager
async def open_desk(
    settings: DeskSettings, broker: Broker, operator: Operator
) -> AsyncIterator[Desk]:
    """Sign in, and out again at the end.

    Raises:
        StartError, KeyFileError, KeySetError: keys or statement are not as needed.
        RpcRefusedError: the sign-in is refused.
        RpcTimeoutError: no user service answers.
    """
    trust = FixedTrust(settings.read_key_set())
    folder = settings.keys or settings.state / KEYS / OPERATOR_DESK
    secret = settings.key_passphrase
    passphrase = None if secret is None else secret.get_secret_value().encode()
    sealer = RotatingSealer(OPERATOR_DESK, folder, passphrase)
    sealer.follow(trust)
    publisher = Publisher(broker, client_id=OPERATOR_DESK)
    rpc = RpcClient(
        broker,
        publisher,
        sealer,
        Verifier(trust, audience=OPERATOR_DESK),
        trust=trust,
        decryption=DecryptionKey.load(folder / ENCRYPTION_KEY, passphrase),
        clock=time.time,
    )
    await rpc.start(DEADLINE)
    try:
        sign_in = SignIn(name=operator.name, password=operator.password.get_secret_value())
        try:
            tokens = await rpc.call(sign_in, responder=USER_SERVICE, deadline=DEADLINE)
        except RpcRefusedError as error:
            raise StartError(f"{operator.name} cannot sign in: {error.detail}") from error
        sitting = Sitting(rpc, tokens)
        try:
            yield Desk(rpc, publisher, sitting.access_token)
        finally:
            await sitting.leave()
    finally:
        await rpc.close()


def read_desk_settings() -> DeskSettings:
    """Where things are.

    Raises:
        SettingsError: a variable is not as it must be.
    """
    return read_settings(DeskSettings)
