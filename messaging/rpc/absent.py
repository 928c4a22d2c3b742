"""Callers that are gone: their reply queues, whose names are random and never come back."""

from typing import Final

REMEMBERED: Final = 10_000
"""The latest so many; a request of an older one merely costs a reply that nobody gets."""


class Absent:
    """Reply queues of which the broker has said that there is no such queue."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._queues: dict[str, None] = {}

    def __contains__(self, queue: object) -> bool:
        return queue in self._queues

    def note(self, queue: str) -> None:
        """The broker knows no such queue."""
        self._queues[queue] = None
        if len(self._queues) > self._remembered:
            del self._queues[next(iter(self._queues))]
