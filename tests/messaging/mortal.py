"""A market's consumer as a process that can be killed, and whoever starts it again.

    python -m tests.messaging.mortal FOLDER

`FOLDER/mortal.json` says what it runs on (`Plan`). The supervisor says on its standard output,
a line each, `ready` for a consumer that consumes and `killed` for one that a signal ended, and
starts another. On SIGTERM it lets the present one drain, and ends with its exit code.
"""

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from auth.errors import RefusalError
from auth.keyset import TrustRoot
from auth.message import VerifiedMessage
from auth.policy import at_acceptance, requires
from auth.principal import Principal
from auth.trust import FixedTrust
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.consumer import CommandConsumer, ConsumerParts
from messaging.database import open_database
from messaging.publisher import Publisher
from messaging.unit_of_work import UnitOfWork
from tests.messaging.market import MARKET, ONE_DAY, SELL_SCOPE, WORK, Sell, make_statement
from tests.messaging.market import root_jwks as market_root
from tests.messaging.raw import WAIT, until
from tests.messaging.stall import SALES, TABLES

POISON = "poison"
"""What kills the consumer that handles it."""


@dataclass(frozen=True)
class Plan:
    """What one consumer runs on.

    work: seconds that the handler takes.   parts: of `ConsumerParts`, exchanged.
    """

    amqp_url: str
    database_url: str
    work: float = 0
    parts: dict[str, Any] = field(default_factory=dict)
    root: str = field(default_factory=market_root)
    statement: str = field(default_factory=make_statement)

    def save(self, folder: Path) -> None:
        (folder / "mortal.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        return cls(**json.loads((folder / "mortal.json").read_text()))


async def consume(plan: Plan) -> None:
    """Until SIGTERM, then drained."""
    shutdown = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, shutdown.set)
    root = TrustRoot.from_json(plan.root.encode())
    trust = FixedTrust(root.verify(plan.statement, now=time.time()))
    broker = await Broker(plan.amqp_url, name=MARKET).start(WAIT)
    database = open_database(plan.database_url)
    consumer = CommandConsumer(WORK)

    @consumer.handles(Sell, requires(SELL_SCOPE), expiry=at_acceptance(ONE_DAY))
    async def sell(command: Sell, caller: Principal, work: UnitOfWork) -> None:
        sale = {"id": work.message.seal.jti, "what": command.what, "who": caller.subject}
        await work.session.execute(insert(SALES).values(sale))
        if plan.work:
            await asyncio.sleep(plan.work)
        if command.what.startswith(POISON):
            os.kill(os.getpid(), signal.SIGKILL)

    parts = ConsumerParts(
        broker=broker,
        publisher=Publisher(broker, client_id=MARKET),
        verifier=Verifier(trust, audience=MARKET),
        database=database,
        tables=TABLES,
        unit_of_work=UnitOfWork,
        on_refused=_tell_nobody,
        committed=lambda: None,
        clock=time.time,
        service=MARKET,
        **plan.parts,
    )
    running = asyncio.create_task(consumer.run(parts, shutdown))
    await until(lambda: consumer.ready or running.done())
    _say("ready")
    await running
    await broker.close(WAIT)
    await database.close()


async def _tell_nobody(refusal: RefusalError, message: VerifiedMessage, work: UnitOfWork) -> None:
    del refusal, message, work


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def supervise(plan: Plan) -> int:
    """Fork a consumer, and another for each that is killed; no loop and no thread runs here."""
    stopping = False
    child = 0

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        if child:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    code = 0
    while not stopping:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            asyncio.run(consume(plan))
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        child = 0
        if code >= 0:
            return code
        _say("killed")
    return code


if __name__ == "__main__":
    sys.exit(supervise(Plan.load(Path(sys.argv[1]))))
