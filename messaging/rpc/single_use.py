"""The requests that were answered and might still be played again."""

import heapq
from dataclasses import dataclass, field


@dataclass(slots=True)
class SingleUse:
    """Ids that were used, each remembered for as long as it could be used.

    In memory: its size is bounded by the requests within the longest life of one. Only ids of
    verified requests come here, so nobody else can fill it.
    """

    _until: dict[tuple[str, str], float] = field(default_factory=dict)
    _expiries: list[tuple[float, tuple[str, str]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._until)

    def use(self, issuer: str, message_id: str, *, until: float, now: float) -> bool:
        """Whether it is used for the first time; `until` when it counts, in seconds."""
        self._forget(now)
        key = (issuer, message_id)
        if key in self._until:
            return False
        self._until[key] = until
        heapq.heappush(self._expiries, (until, key))
        return True

    def _forget(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] < now:
            _, key = heapq.heappop(self._expiries)
            del self._until[key]
