"""The backlog: what waits for the broker in this process, bounded in number and in bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from messaging.errors import BacklogFullError

LIMIT: Final = 1000
"""Messages. At 2,000 confirms a second, half a second's work."""

BYTES: Final = 64 * 1024 * 1024


class Backlog:
    """Places for what is under way. Whoever finds none is told so, and waits for nothing."""

    def __init__(self, limit: int = LIMIT, *, max_bytes: int = BYTES) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def limit(self) -> int:
        return self._limit

    @contextmanager
    def place(self, size: int) -> Iterator[None]:
        """Hold a place for `size` bytes, for as long as the block lasts.

        What is larger than all places together gets one where it is alone.

        Raises:
            BacklogFullError: there is none.
        """
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)

    def take(self, size: int) -> None:
        """As `place`, until it is given back.

        Raises:
            BacklogFullError: there is none.
        """
        if self._count >= self._limit or (self._count and self._bytes + size > self._max_bytes):
            raise BacklogFullError(
                f"{self._count} messages of {self._bytes} bytes wait for the broker already"
            )
        self._count += 1
        self._bytes += size

    def give_back(self, size: int) -> None:
        """Somebody else may have the place."""
        self._count -= 1
        self._bytes -= size
