"""Which shard of a work queue a command goes to: always the same for what it is about.

The publisher works it out and says it in a header, and the broker routes by that header
(`messaging.topology.WorkQueue`). No seal covers it: in whichever shard a command ends up, it is
judged and handled the same (`docs/decisions/0019-shards.md`).
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

SHARD: Final = "carnet-shard"
"""The header: the number of the shard, from 0, in decimal."""

MAX_SHARDS: Final = 64

ShardBy = Literal["order", "subject"]
"""What stays together: the commands about one order, or all of one subject."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """How a publisher spreads its commands."""

    shards: int = 1
    by: ShardBy = "order"

    def shard(self, *, about: str, subject: str) -> int | None:
        """The shard of a command; None where the queue has only one."""
        if self.shards == 1:
            return None
        return shard_of(subject if self.by == "subject" else about, self.shards)


def shard_of(thing: str, shards: int) -> int:
    """Jump consistent hash (Lamping and Veach, 2014) of the first 64 bits of its SHA-256.

    From n shards to n + 1, one in n + 1 things moves, and each of those to the new shard. The
    same on every machine, for ever.
    """
    key = int.from_bytes(sha256(thing.encode()).digest()[:8], "big")
    shard, jump = 0, 0
    while jump < shards:
        shard = jump
        key = (key * 2862933555777941757 + 1) % 2**64
        jump = int((shard + 1) * (2**31 / ((key >> 33) + 1)))
    return shard
