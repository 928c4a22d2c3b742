"""The issuer's private keys in their folder, each by its key id."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from auth.errors import KeyFileError
from auth.keys import SigningKey

LOOK: Final = 1.0
"""Seconds between two looks for a key that was not there."""

log = structlog.get_logger(__name__)


class KeyFolder:
    def __init__(
        self,
        folder: Path,
        passphrase: bytes | None,
        *,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load all keys that are there.

        Raises:
            KeyFileError: one is open to others or locked by another passphrase.
        """
        self.folder = folder
        self._passphrase = passphrase
        self._ticks = ticks
        self._looked_at = ticks()
        self._read: set[Path] = set()
        self._keys: dict[str, SigningKey] = {}
        for path in self._unread():
            self._load(path)

    def get(self, kid: str) -> SigningKey | None:
        """The key; one that came meanwhile is found within a second."""
        if kid not in self._keys and self._ticks() - self._looked_at >= LOOK:
            self.look()
        return self._keys.get(kid)

    def look(self) -> Mapping[str, SigningKey]:
        """Load what came meanwhile; what cannot be used is told, and is no key."""
        self._looked_at = self._ticks()
        for path in self._unread():
            try:
                self._load(path)
            except KeyFileError as error:
                log.warning("issuer_key_unusable", detail=error.detail)
        return self._keys

    def _unread(self) -> list[Path]:
        return [path for path in sorted(self.folder.glob("*.pem")) if path not in self._read]

    def _load(self, path: Path) -> None:
        key = SigningKey.load(path, self._passphrase)
        self._keys[key.kid] = key
        self._read.add(path)
