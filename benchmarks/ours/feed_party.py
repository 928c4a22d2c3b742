"""What the trust feed costs one relying party, and the issuer: memory, time of the processor.

Real statements under real keys, without a broker; what was measured is written as JSON.
"""

import gc
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from auth.feed import Feed
from auth.keys import SigningKey
from auth.keyset import KeySet, TrustRoot
from auth.statement import KeySetDraft
from auth.statements import MAX_PAGE, Herald, Revocation
from auth.tokens import new_token_id
from benchmarks.contender import Job
from benchmarks.live_revocations import resident
from services.users.revocations import REACH

BEATS: Final = 50
"""Heartbeats that differ, within the time in which they are believed."""


class Party:
    def __init__(self) -> None:
        self.now = int(time.time())
        self.root, self.key = SigningKey.generate(), SigningKey.generate()
        draft = KeySetDraft.new("user-service")
        draft.add_issuer_key(self.key.public, "active")
        self.trust_root = TrustRoot([self.root.public])
        self.key_set: KeySet = self.trust_root.verify(
            draft.sign(self.root, now=self.now), now=self.now
        )
        self.herald = Herald("user-service", new_token_id())
        self.feed = Feed(self.trust_root, self.key_set)
        self.figures: dict[str, float] = {}

    def revoked(self, seq: int) -> Revocation:
        return Revocation(seq=seq, until=self.now + REACH + seq // 12, sid=str(uuid.uuid4()))

    @contextmanager
    def timed(self, name: str, times: int, unit: float) -> Iterator[None]:
        """Add what this costs the processor, each of so many times."""
        began = time.process_time()
        yield
        spent = (time.process_time() - began) / times * unit
        self.figures[name] = self.figures.get(name, 0.0) + spent

    def statements(self, count: int) -> None:
        """Single statements: made, and heard."""
        self.feed.take_snapshot(self.page(0, 0, 0), now=self.now, ticks=0)
        with self.timed("feed.sign_revocation_us", count, 1e6):
            told = [
                self.herald.revocation(self.revoked(seq), key=self.key, now=self.now)
                for seq in range(1, count + 1)
            ]
        with self.timed("feed.hear_revocation_us", count, 1e6):
            for statement in told:
                self.feed.hear(statement, now=self.now, ticks=0)
        beats = [
            self.herald.heartbeat(seq=count, version=1, key=self.key, now=self.now - 25 + beat)
            for beat in range(BEATS)
        ]
        with self.timed("feed.hear_heartbeat_us", BEATS, 1e6):
            for statement in beats:
                self.feed.hear(statement, now=self.now, ticks=0)
        self.figures["feed.revocation_bytes"] = len(told[0])
        self.figures["feed.heartbeat_bytes"] = len(beats[0])

    def page(self, after: int, upto: int, seq: int) -> str:
        return self.herald.snapshot(
            [self.revoked(number) for number in range(after + 1, upto + 1)],
            after=after,
            upto=upto,
            seq=seq,
            version=1,
            key=self.key,
            now=self.now,
        )

    def snapshot(self, live: int) -> None:
        """All that is in force, page by page; and to forget what is over, which is little."""
        self.feed = Feed(self.trust_root, self.key_set)
        gc.collect()
        before, name, octets = resident(), f"feed.live_{live}", 0
        for after in range(0, live, MAX_PAGE):
            upto = min(after + MAX_PAGE, live)
            entries = [self.revoked(number) for number in range(after + 1, upto + 1)]
            with self.timed(f"{name}_sign_s", 1, 1):
                page = self.herald.snapshot(
                    entries,
                    after=after,
                    upto=upto,
                    seq=live,
                    version=1,
                    key=self.key,
                    now=self.now,
                )
            with self.timed(f"{name}_take_s", 1, 1):
                self.feed.take_snapshot(page, now=self.now, ticks=0)
            octets += len(page)
            del entries, page
        gc.collect()
        self.figures[f"{name}_bytes_each"] = (resident() - before) / live
        self.figures[f"{name}_snapshot_mib"] = octets / 2**20
        with self.timed(f"{name}_forget_ms", 1, 1e3):
            self.feed.revocations.prune(self.now + REACH + 60)


def main(job: Job) -> None:
    party = Party()
    party.statements(job.count)
    for live in job.options["live"]:
        party.snapshot(live)
    print(json.dumps(party.figures), flush=True)


if __name__ == "__main__":
    main(Job.read())
