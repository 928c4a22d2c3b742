"""A service's live trust: begun from disk, followed over the broker, kept on disk."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from auth.errors import KeySetError
from auth.feed import Feed
from auth.keyset import KeySet, TrustRoot
from messaging.broker import Broker
from messaging.rpc import RpcClient
from messaging.trust import LiveTrust, TrustSupply
from services.contracts.topology import USER_SERVICE
from services.contracts.users import GetKeySet, GetRevocations
from services.errors import StartError
from services.identity import load_key_set, load_trust_root
from services.settings import ProcessSettings

KEPT: Final = "key-set.jwt"
DEADLINE: Final = 5.0
"""Seconds for the user service to supply what is missing."""

log = structlog.get_logger(__name__)


class KeptKeySet:
    """The newest statement that this service has seen, on its own disk.

    It survives a restart and an outage of everybody else. What is read back is verified again:
    the disk is believed no more than the broker.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / KEPT

    def newest(self, given: KeySet, root: TrustRoot, *, now: float) -> KeySet:
        """The kept statement where it is newer than the one given by the settings.

        Raises:
            KeySetError: both are of one version and differ.
            StartError: the file cannot be read.
        """
        try:
            kept = root.verify(self._path.read_text(encoding="ascii"), now=now)
        except FileNotFoundError:
            return given
        except OSError as error:
            raise StartError(f"{self._path}: cannot read: {error.strerror}") from error
        except (KeySetError, UnicodeDecodeError) as error:
            log.warning("kept_key_set_refused", path=str(self._path), detail=str(error))
            return given
        if kept.version == given.version:
            kept.supersedes(given)  # refuses two of one version
        return kept if kept.version > given.version else given

    def keep(self, key_set: KeySet) -> None:
        """Replace what is kept, at once and whole.

        Raises:
            StartError: the folder cannot be written.
        """
        folder = self._path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{KEPT}.")
        except OSError as error:
            raise StartError(f"{folder}: cannot write: {error.strerror}") from error
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(key_set.statement)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except OSError as error:
            raise StartError(f"{self._path}: cannot write: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def open_live_trust(
    client_id: str, settings: ProcessSettings, broker: Broker, *, clock: Callable[[], float]
) -> LiveTrust:
    """The trust of a relying party, which follows the issuer once it is run.

    Raises:
        StartError, KeySetError: root or statement cannot be read or believed.
    """
    root = load_trust_root(settings)
    given = load_key_set(settings, now=clock())
    kept = KeptKeySet(settings.trust_state)
    newest = kept.newest(given, root, now=clock())
    kept.keep(newest)
    feed = Feed(root, newest, max_silence=settings.trust_max_silence)
    return LiveTrust(feed, broker=broker, client_id=client_id, clock=clock, ticks=time.monotonic)


def trust_supply(rpc: RpcClient, settings: ProcessSettings) -> TrustSupply:
    """Asks the user service, over RPC."""

    async def snapshot(after: int) -> str:
        request = GetRevocations(after=after)
        return (await rpc.call(request, responder=USER_SERVICE, deadline=DEADLINE)).snapshot

    async def key_set() -> str:
        return (await rpc.call(GetKeySet(), responder=USER_SERVICE, deadline=DEADLINE)).statement

    kept = KeptKeySet(settings.trust_state)

    def keep(newer: KeySet) -> None:
        try:
            kept.keep(newer)
        except StartError as error:  # it holds in memory; a restart would ask for it again
            log.warning("key_set_not_kept", detail=str(error))

    return TrustSupply(snapshot=snapshot, key_set=key_set, keep=keep)
