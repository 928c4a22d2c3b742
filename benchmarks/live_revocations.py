"""What 100,000 live revocations cost a relying party: memory, and time to verify a command.

    python -m benchmarks.live_revocations

Prints resident memory before and after, and the ratio of verifications per second with the full
list over those with an empty one, both measured in turn in one run.
"""

import gc
import statistics
import time
import uuid
from pathlib import Path
from typing import Final

from auth.feed import Feed
from auth.keys import SigningKey
from auth.keyset import TrustRoot
from auth.message import AUTHORIZATION, CARNET_SEAL, Route, UnverifiedMessage
from auth.policy import at_processing, requires
from auth.revocation import RevocationList
from auth.seal import Sealer
from auth.statement import KeySetDraft
from auth.statements import MAX_PAGE, Herald, Revocation
from auth.tokens import AccessClaims, Issuer, new_token_id
from auth.trust import FixedTrust
from auth.verifier import Verifier

REVOCATIONS: Final = 100_000
ROUNDS: Final = 15
VERIFICATIONS: Final = 300
ROUTE: Final = Route("carnet.commands", "orders.place", "orders.place.v1")
BODY: Final = b'{"lines":[{"sku":"tea","quantity":1,"unit_price":"4.20"}],"currency":"EUR"}'


def resident() -> int:
    """Resident memory of this process, in bytes (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def main() -> None:
    """Measure and print."""
    now = int(time.time())
    root, issuer_key, gateway_key = (SigningKey.generate() for _ in range(3))
    draft = KeySetDraft.new("user-service")
    draft.add_issuer_key(issuer_key.public, "active")
    draft.add_client(
        "api-gateway",
        key=gateway_key.public,
        enc=None,
        publishes=frozenset({ROUTE.type}),
        exchanges=frozenset({"order-service"}),
        scopes=frozenset(),
    )
    trust_root = TrustRoot([root.public])
    key_set = trust_root.verify(draft.sign(root, now=now), now=now)

    gc.collect()
    before = resident()
    feed = Feed(trust_root, key_set)
    herald = Herald("user-service", new_token_id())
    for after in range(0, REVOCATIONS, MAX_PAGE):
        page = [
            Revocation(seq=seq, until=now + 90_000, sid=str(uuid.uuid4()))
            for seq in range(after + 1, after + MAX_PAGE + 1)
        ]
        snapshot = herald.snapshot(
            page,
            after=after,
            upto=after + MAX_PAGE,
            seq=REVOCATIONS,
            version=key_set.version,
            key=issuer_key,
            now=now,
        )
        feed.take_snapshot(snapshot, now=now, ticks=0)
    del page, snapshot
    gc.collect()
    print(f"live revocations             {len(feed.revocations):>10,}")
    print(f"resident memory, more by     {(resident() - before) / 2**20:>10.1f} MiB")

    message = _message(issuer_key, gateway_key, now)
    full = Verifier(FixedTrust(key_set, feed.revocations), audience="order-service")
    empty = Verifier(FixedTrust(key_set, RevocationList()), audience="order-service")
    print(f"time to verify, full / empty {_ratio(full, empty, message, now):>10.3f}")


def _message(issuer_key: SigningKey, gateway_key: SigningKey, now: int) -> UnverifiedMessage:
    parent = AccessClaims(
        iss="user-service",
        sub=str(uuid.uuid4()),
        aud="api-gateway",
        client_id="api-gateway",
        iat=now,
        exp=now + 900,
        jti=new_token_id(),
        scope="orders:write",
        sid=str(uuid.uuid4()),
        epoch=1,
    )
    carnet = Issuer("user-service", issuer_key).carnet(
        parent, actor="api-gateway", audience="order-service", scopes=parent.scopes, now=now
    )
    seal = Sealer("api-gateway", gateway_key).command(
        route=ROUTE,
        audience="order-service",
        message_id=str(uuid.uuid4()),
        body=BODY,
        carnet=carnet,
        now=now,
        expires_at=now + 60,
    )
    headers = {AUTHORIZATION: f"Bearer {carnet}", CARNET_SEAL: seal}
    return UnverifiedMessage(body=BODY, headers=headers, type=ROUTE.type)


def _ratio(full: Verifier, empty: Verifier, message: UnverifiedMessage, now: int) -> float:
    """Median of the rounds, in each of which both go first once."""
    ratios = []
    for _ in range(ROUNDS):
        ours = _seconds(full, message, now)
        others = _seconds(empty, message, now) + _seconds(empty, message, now)
        ours += _seconds(full, message, now)
        ratios.append(ours / others)
    return statistics.median(ratios)


def _seconds(verifier: Verifier, message: UnverifiedMessage, now: int) -> float:
    started = time.process_time()
    for _ in range(VERIFICATIONS):
        verifier.command(message, ROUTE, requires("orders:write"), at_processing(), now=now)
    return time.process_time() - started


if __name__ == "__main__":
    main()
