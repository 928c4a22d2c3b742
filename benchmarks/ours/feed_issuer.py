"""The issuer's side of the trust feed as the user service has it, without accounts and HTTP.

The same parts: database, revocations, signing, heralding, and answers to who asks for a page.
Told `{"end": COUNT, "per_s": RATE}` it ends so many sessions, each in a transaction of its own as
a sign-out does (a rate of 0 is one after the other); told `{"together": COUNT}`, all in one. It
answers with their numbers, and when it began to end them.
"""

import asyncio
import time
import uuid
from pathlib import Path
from typing import Final

import uvloop
from sqlalchemy import insert, update

from auth.keyset import TrustRoot
from auth.policy import public
from auth.seal import Sealer
from auth.verifier import Verifier
from benchmarks.contender import READY, Job
from benchmarks.ours.service import PATIENCE, quiet
from benchmarks.ours.told import answer, next_order
from messaging.broker import Broker
from messaging.database import Database, open_database
from messaging.migrations import upgrade
from messaging.publisher import Publisher
from messaging.rpc import Caller, RpcParts, RpcServer
from services.contracts.topology import USER_SERVICE, USERS_RPC
from services.contracts.users import GetRevocations, RevocationsPage
from services.keyring import ISSUER, Keyring
from services.users.heralding import Heralding
from services.users.keyfolder import KeyFolder
from services.users.leadership import leadership
from services.users.revocations import REACH, Revocations
from services.users.signing import IssuerKeys
from services.users.statements import Statements
from services.users.store import MIGRATIONS, Feed, Revoked
from services.users.trust import IssuerTrust

AT_ONCE: Final = 10_000
"""Rows of one insert."""


async def fill(database: Database, live: int) -> None:
    """Have so many revocations in force, as if they had been told before."""
    now = int(time.time())
    async with database.transaction() as work:
        for first in range(1, live + 1, AT_ONCE):
            rows = [
                {
                    "seq": seq,
                    "sid": str(uuid.uuid4()),
                    "until": now + REACH,
                    "at": now,
                    "why": "bench",
                }
                for seq in range(first, min(first + AT_ONCE, live + 1))
            ]
            await work.execute(insert(Revoked), rows)
        await work.execute(update(Feed).values(seq=live))


async def end(database: Database, revocations: Revocations, count: int, per_s: float) -> None:
    """End so many sessions one by one, and answer when each was begun with."""
    loop = asyncio.get_running_loop()
    first, seq, begun = loop.time(), await revocations.latest(), []
    for number in range(count):
        if per_s:
            await asyncio.sleep(max(0.0, first + number / per_s - loop.time()))  # the pace
        began = time.monotonic()
        async with database.transaction() as work:
            await revocations.revoke_session(work, str(uuid.uuid4()), "bench")
        begun.append((seq + number + 1, seq + number + 1, began))
    answer(begun=begun)


async def end_together(database: Database, revocations: Revocations, count: int) -> None:
    """End so many in one transaction; it is begun with when that commits."""
    seq = await revocations.latest()
    async with database.transaction() as work:
        for _ in range(count):
            await revocations.revoke_session(work, str(uuid.uuid4()), "bench")
        began = time.monotonic()
    answer(begun=[(seq + 1, seq + count, began)])


async def run(job: Job) -> None:
    state, clock = Path(job.options["state"]), time.time
    await upgrade(job.options["database"], MIGRATIONS)
    database = open_database(job.options["database"])
    await fill(database, job.options["live"])
    root = TrustRoot.from_json((state / "trust-root.json").read_bytes())
    trust = IssuerTrust(root, state / "key-set.jwt", database, clock=clock)
    await trust.start()
    folder = KeyFolder(state / "keys" / USER_SERVICE / ISSUER, None)
    keys = IssuerKeys(folder, trust, database, clock=clock)
    await keys.begin()
    revocations = Revocations(database, clock)
    statements = Statements(keys, trust, revocations, clock=clock)
    broker = await Broker(job.url, name=USER_SERVICE).start(PATIENCE)
    publisher = Publisher(broker, client_id=USER_SERVICE)
    keyring = Keyring(state / "keys", None)
    heralding = Heralding(
        statements=statements,
        revocations=revocations,
        trust=trust,
        publisher=publisher,
        leadership=leadership(database),
    )
    service = RpcServer(USERS_RPC)

    async def page(request: GetRevocations, _caller: Caller) -> RevocationsPage:
        return RevocationsPage(snapshot=await statements.snapshot(request.after))

    service.answers(GetRevocations, public())(page)
    parts = RpcParts(
        broker=broker,
        publisher=publisher,
        sealer=Sealer(USER_SERVICE, keyring.seal(USER_SERVICE)),
        verifier=Verifier(trust, audience=USER_SERVICE),
        trust=trust,
        decryption=keyring.encryption(USER_SERVICE),
        clock=clock,
    )
    shutdown = asyncio.Event()
    async with asyncio.TaskGroup() as running:
        running.create_task(heralding.run(shutdown))
        running.create_task(service.run(parts, shutdown))
        print(READY, flush=True)
        while order := await next_order():
            if "together" in order:
                await end_together(database, revocations, order["together"])
            else:
                await end(database, revocations, order["end"], order["per_s"])
        shutdown.set()
    await broker.close(PATIENCE)
    await database.close()


if __name__ == "__main__":
    quiet()
    uvloop.run(run(Job.read()))
