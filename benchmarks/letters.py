"""Messages made ahead: genuine orders under genuine carnets and seals, once for all contenders."""

import asyncio
import json
import multiprocessing
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from pamqp import commands

from auth.keys import SigningKey
from auth.keyset import KeySet, TrustRoot
from auth.message import AUTHORIZATION
from auth.seal import Sealer
from auth.statement import ISSUER, KeySetDraft
from auth.tokens import AccessClaims, Issuer, new_token_id
from benchmarks.contender import Job
from benchmarks.ours.bulk import PlaceBulkOrder
from messaging.envelope import sealed_headers
from services.contracts.orders import PATIENCE, OrderLine, PlaceOrder
from services.contracts.scopes import ORDERS_WRITE
from services.contracts.topology import GATEWAY, ORDER_SERVICE, USER_SERVICE

KEPT: Final = int(PATIENCE.total_seconds())
LINES: Final = 3
PROCESSES: Final = 2
WORTH_A_PROCESS: Final = 1_000
MANY_KEYS: Final = "many-keys"

Sealed = list[tuple[bytes, dict[str, str]]]
"""Bodies with their headers."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it is put into a queue."""

    body: bytes
    properties: commands.Basic.Properties

    def unsealed(self) -> "Letter":
        """As a peer publishes it: the same body and token, and no seal that it would not read."""
        headers = {AUTHORIZATION: str((self.properties.headers or {})[AUTHORIZATION])}
        return Letter(self.body, _properties(headers))


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the keys are that sign carnets and seals: of each, one or as many as are active."""

    state: Path
    statement: str = "key-set.jwt"

    def key_set(self) -> KeySet:
        root = TrustRoot.from_json((self.state / "trust-root.json").read_bytes())
        return root.verify((self.state / self.statement).read_text(), now=time.time())

    def load(self) -> tuple[list[Issuer], list[Sealer]]:
        key_set = self.key_set()
        issuer = (kid for kid, key in key_set.issuer_keys.items() if key.state == "active")
        client = key_set.clients[GATEWAY].keys
        folder, extra = self.state / "keys", self.state / MANY_KEYS
        issuers = [
            Issuer(USER_SERVICE, _load(extra, folder / USER_SERVICE / "issuer", kid))
            for kid in issuer
        ]
        own = SigningKey.load(folder / GATEWAY / "seal.pem")
        sealers = [
            Sealer(GATEWAY, own if kid == own.kid else _load(extra, extra, kid)) for kid in client
        ]
        return issuers, sealers


def _load(first: Path, second: Path, kid: str) -> SigningKey:
    name = f"{kid}.pem"
    return SigningKey.load(first / name if (first / name).exists() else second / name)


def add_keys(state: Path, count: int) -> Keys:
    """The same trust, with `count` active keys of the issuer's and `count` of the gateway's."""
    keys = Keys(state, f"{MANY_KEYS}.jwt")
    folder = state / MANY_KEYS
    if folder.exists():
        return keys
    draft = KeySetDraft.of(Keys(state).key_set())
    for owner in (ISSUER, GATEWAY):
        for _ in range(count - 1):
            key = SigningKey.generate()
            key.save(folder / f"{key.kid}.pem", None)
            draft.keys_of(owner).append({**key.public.to_jwk(), "state": "active"})
    root = SigningKey.load(state / "root" / "root.pem")
    (state / keys.statement).write_text(draft.sign(root, now=time.time()), encoding="ascii")
    return keys


def order(body_size: int = 0) -> PlaceOrder:
    """An order of about 250 bytes, or one with a note that makes it so long."""
    lines = tuple(
        OrderLine(sku=f"tea-earl-grey-{number:04}", quantity=2, unit_price=Decimal("4.20"))
        for number in range(LINES if not body_size else 1)
    )
    if not body_size:
        return PlaceOrder(lines=lines, currency="EUR")
    bare = len(PlaceBulkOrder(lines=lines, currency="EUR", note="").to_body())
    return PlaceBulkOrder(lines=lines, currency="EUR", note="x" * max(0, body_size - bare))


def new_carnet(issuer: Issuer, now: float) -> str:
    """The carnet of another user, in another session."""
    parent = AccessClaims(
        iss=issuer.name,
        sub=str(uuid.uuid4()),
        aud=GATEWAY,
        client_id=GATEWAY,
        iat=int(now),
        exp=int(now) + 900,
        jti=new_token_id(),
        scope=ORDERS_WRITE,
        sid=str(uuid.uuid4()),
        epoch=1,
        auth_time=int(now),
    )
    return issuer.carnet(
        parent, actor=GATEWAY, audience=ORDER_SERVICE, scopes=parent.scopes, now=now
    )


def make_carnets(keys: Keys, count: int) -> list[str]:
    """So many carnets, each of another session."""
    issuers, _ = keys.load()
    now = time.time()
    return [new_carnet(issuers[number % len(issuers)], now) for number in range(count)]


def write_carnets(carnets: list[str], path: Path) -> None:
    path.write_text(json.dumps(carnets), encoding="ascii")


def read_carnets(job: Job) -> list[str]:
    """What `write_carnets` wrote, for a program that publishes."""
    carnets: list[str] = json.loads(Path(job.options["carnets"]).read_text(encoding="ascii"))
    return carnets


def _sealed(keys: Keys, body_size: int, share: tuple[int, int]) -> Sealed:
    """`share`: how many messages, under how many carnets, which take turns."""
    count, sessions = share
    _, sealers = keys.load()
    carnets = make_carnets(keys, min(sessions, count))
    body, now = order(body_size).to_body(), time.time()
    made = []
    for number in range(count):
        carnet = carnets[number % len(carnets)]
        seal = sealers[number % len(sealers)].command(
            route=PlaceOrder.route,
            audience=ORDER_SERVICE,
            message_id=str(uuid.uuid4()),
            body=body,
            carnet=carnet,
            now=now,
            expires_at=now + KEPT - 60,
        )
        made.append((body, sealed_headers(seal, carnet)))
    return made


async def make(keys: Keys, count: int, *, sessions: int, body_size: int = 0) -> list[Letter]:
    """So many sealed orders of so many sessions; many of them in parallel.

    The carnets end after five minutes; the orders are wanted for a day, as the handler allows.
    """
    if count < WORTH_A_PROCESS:
        parts = [await asyncio.to_thread(_sealed, keys, body_size, (count, sessions))]
    else:
        parts = await _make_in_parallel(keys, count, sessions, body_size)
    return [
        Letter(body, _properties(headers)) for body, headers in chain.from_iterable(_mix(parts))
    ]


async def _make_in_parallel(keys: Keys, count: int, sessions: int, body_size: int) -> list[Sealed]:
    shares = [
        (count * (n + 1) // PROCESSES - count * n // PROCESSES, max(1, sessions // PROCESSES))
        for n in range(PROCESSES)
    ]
    loop, context = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        return await asyncio.gather(
            *(
                loop.run_in_executor(pool, partial(_sealed, keys, body_size, share))
                for share in shares
            )
        )


def _mix(parts: Sequence[Sealed]) -> list[Sealed]:
    """In turn from each part, so that all sessions come early."""
    shortest = min(len(part) for part in parts)
    turns = [list(turn) for turn in zip(*(part[:shortest] for part in parts), strict=True)]
    return [*turns, *(part[shortest:] for part in parts)]


def _properties(headers: dict[str, str]) -> commands.Basic.Properties:
    return commands.Basic.Properties(
        headers=dict(headers),
        content_type="application/json",
        delivery_mode=2,
        message_type=PlaceOrder.route.type,
        app_id=GATEWAY,
        message_id=str(uuid.uuid4()),
    )


def jwk_of_issuer(keys: Keys) -> str:
    """The issuer's first public key, as JSON: what a peer verifies with."""
    return json.dumps(keys.key_set().jwks()["keys"][0])
