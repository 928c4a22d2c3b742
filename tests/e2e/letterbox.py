"""Dead letters on a running stack, and the operator's command as a process."""

import asyncio
import os
import re
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, chdir
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from typer.testing import CliRunner

from auth.explain import decode_unverified
from auth.keys import SigningKey
from auth.message import Route
from auth.seal import Sealer
from auth.tokens import AccessClaims, Issuer
from messaging.broker import Broker
from messaging.envelope import Envelope, sealed_headers
from messaging.publisher import Publisher
from messaging.topology import DEAD
from services.authority import Authority
from services.cli.main import app
from services.contracts.orders import PATIENCE, PlaceOrder
from services.contracts.topology import GATEWAY, ORDER_SERVICE, ORDERS_COMMANDS
from services.demo.client import Account
from services.failure import KNOWN_ERRORS
from services.local.logins import OPERATOR
from services.local.stack import LocalStack
from tests.messaging.raw import Raw, raw_channel

CARNET: Final = Path(sys.executable).with_name("carnet")
WITHIN: Final = 300.0

LOGGED: Final = re.compile(r"[0-9-]{10} [0-9:]{8} \[(info|warning)")
DAY: Final = 24 * 3600
GRACE: Final = "grace"
PASSWORD: Final = "correct horse battery staple"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass
class Letterbox:
    """What a test may do: have commands refused, and run the operator's command."""

    stack: LocalStack
    raw: Raw
    publisher: Publisher
    issuer: Issuer
    gateway: Sealer
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "CARNET_OPERATOR_URL"}
        return {
            **kept,
            "CARNET_STATE": str(self.stack.state),
            "CARNET_OPERATOR": GRACE,
            "COLUMNS": "200",
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """As a process, which a test may kill."""
        return await asyncio.create_subprocess_exec(
            str(CARNET),
            *arguments,
            env=self.environment,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, stdin: str | None = None) -> Ended:
        """To its end, in a thread of ours: a process takes seconds to begin."""
        async with asyncio.timeout(WITHIN):
            return await asyncio.to_thread(self._invoke, arguments, stdin)

    def _invoke(self, arguments: Sequence[str], stdin: str | None) -> Ended:
        environment = self.environment | {"CARNET_OPERATOR_URL": None}
        with chdir(self.folder):
            result = CliRunner().invoke(app, arguments, input=stdin, env=environment)
        error = result.exception
        if error is not None and not isinstance(error, (SystemExit, *KNOWN_ERRORS)):
            raise error
        said = "" if isinstance(error, SystemExit) or error is None else str(error)
        # `main` has the log silenced; here it goes where all tests' does.
        out = "".join(line for line in result.stdout.splitlines(True) if not LOGGED.match(line))
        return Ended(result.exit_code, out, result.stderr + said)

    async def dead_letters(self, *arguments: str) -> Ended:
        password = ("--password-file", "grace.password")
        asks = password if arguments[0] in {"release", "discard"} else ()
        return await self.run("dead-letters", *arguments, *asks)

    def place(
        self,
        account: Account,
        *,
        message_id: str | None = None,
        age: float = 2 * DAY,
        sealed_after: float = 0,
        gateway: Sealer | None = None,
    ) -> tuple[str, Envelope]:
        """A command of the account's that was sealed so long ago, and its order's id."""
        now = time.time() - age
        claims = decode_unverified(account.access_token).unverified_claims
        parent = AccessClaims(
            **claims | {"iat": int(now), "exp": int(now) + 900, "scope": "orders:write"}
        )
        carnet = self.issuer.carnet(
            parent, actor=GATEWAY, audience=ORDER_SERVICE, scopes=parent.scopes, now=now
        )
        line = {"sku": "tea", "quantity": 1, "unit_price": "3.20"}
        body = PlaceOrder.model_validate({"lines": [line], "currency": "EUR"}).to_body()
        message_id = message_id or str(uuid.uuid4())
        seal = (gateway or self.gateway).command(
            route=PlaceOrder.route,
            audience=ORDER_SERVICE,
            message_id=message_id,
            body=body,
            carnet=carnet,
            now=now + sealed_after,
            expires_at=now + sealed_after + PATIENCE.total_seconds(),
        )
        headers = sealed_headers(seal, carnet)
        return message_id, Envelope(route=PlaceOrder.route, body=body, headers=headers)

    async def refused(self, *envelopes: Envelope) -> None:
        """Send these, and wait until as many more lie dead."""
        before = await self.raw.count(ORDERS_COMMANDS.dead)
        await asyncio.gather(*(self.publisher.publish(each, deadline=20) for each in envelopes))
        await self.raw.until_count(ORDERS_COMMANDS.dead, before + len(envelopes))

    async def lay(self, envelope: Envelope) -> None:
        """Put a message among the dead letters, as the order service does that refuses it."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        notes = {
            "carnet-reason": "too_old",
            "carnet-detail": "the work has waited for too long",
            "carnet-failed-at": now,
            "carnet-queue": ORDERS_COMMANDS.name,
            "carnet-service": ORDER_SERVICE,
        }
        route = Route(DEAD.name, ORDERS_COMMANDS.dead, envelope.route.type)
        laid = replace(envelope, route=route, headers={**envelope.headers, **notes})
        await self.publisher.publish(laid, deadline=20)

    async def empty(self) -> None:
        queue = await self.raw.channel.get_queue(ORDERS_COMMANDS.dead, ensure=False)
        await queue.purge()


@asynccontextmanager
async def open_letterbox(stack: LocalStack, folder: Path) -> AsyncIterator[Letterbox]:
    """With an operator's account, whose password lies in `grace.password` of the folder."""
    now = time.time()
    key_set = Authority(stack.state).current(now=now)
    active = next(kid for kid, key in key_set.issuer_keys.items() if key.state == "active")
    keys = stack.state / "keys"
    issuer_key = SigningKey.load(keys / "user-service" / "issuer" / f"{active}.pem")
    url = stack.amqp_url(OPERATOR)
    broker = await Broker(url, name="letterbox").start(20)
    (folder / "grace.password").write_text(PASSWORD)
    try:
        async with raw_channel(url) as raw:
            box = Letterbox(
                stack=stack,
                raw=raw,
                publisher=Publisher(broker, client_id=GATEWAY),
                issuer=Issuer(key_set.issuer, issuer_key),
                gateway=Sealer(GATEWAY, SigningKey.load(keys / GATEWAY / "seal.pem")),
                folder=folder,
            )
            yield box
    finally:
        await broker.close(20)


def told(error: Ended) -> dict[str, Any]:
    """For an assertion's message."""
    return {"code": error.code, "out": error.out[-500:], "err": error.err[-500:]}
