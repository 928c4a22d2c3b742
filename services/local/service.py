"""One service of the stack as a process: what it is told, and when it is ready."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from services.contracts.topology import GATEWAY, OPERATOR_DESK, ORDER_SERVICE, USER_SERVICE
from services.local.child import Child
from services.local.errors import NotReadyError, ServiceDiedError
from services.local.ports import LOOPBACK
from services.settings import BROKER_RESOURCE

CLIENTS: Final[dict[str, str]] = {
    "users": USER_SERVICE,
    "orders": ORDER_SERVICE,
    "gateway": GATEWAY,
}
"""Each service's name as a process, and its client id. Stopped in the reverse order."""

CONSOLE: Final = "console"
"""The console's name as a process. It is no service: nobody needs it."""

CLIENT_OF: Final = {**CLIENTS, CONSOLE: OPERATOR_DESK}
"""The client id of every process."""

READY_WITHIN: Final = 60.0
ASK_EVERY: Final = 0.1
ANSWER_WITHIN: Final = 5.0
DRAIN_WITHIN: Final = 20.0
BEYOND_DRAIN: Final = 5.0

_EVERYWHERE: Final = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - not bound, looked up


@dataclass(frozen=True, slots=True)
class Service:
    """A service, the state folder that it shares with the others, and where it listens."""

    name: str
    state: Path
    host: str
    port: int

    @property
    def client_id(self) -> str:
        """One of one's own is called by its client id."""
        return CLIENT_OF.get(self.name, self.name)

    @property
    def url(self) -> str:
        """Where it answers HTTP: its API, or its health."""
        host = _EVERYWHERE.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def log(self) -> Path:
        return self.state / "logs" / f"{self.name}.log"

    def environment(
        self,
        amqp_url: str,
        passphrase: str | None,
        *,
        token_url: str | None = None,
        shards: int = 1,
        declared: Path | None = None,
        playground: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Our own environment, with the service's settings in it.

        token_url: where tokens for the broker are given; None where the URL's password logs in.
        shards: of the order consumer's work.   declared: the folder of services of one's own.
        playground: whether users may tamper with messages of their own.
        more: settings that this service alone has.
        """
        settings = {
            "CARNET_AMQP_URL": amqp_url,
            "CARNET_BROKER_LOGIN": "password" if token_url is None else "token",
            "CARNET_BROKER_RESOURCE": BROKER_RESOURCE,
            "CARNET_TRUST_ROOT": str(self.state / "trust-root.json"),
            "CARNET_KEY_SET": str(self.state / "key-set.jwt"),
            "CARNET_TRUST_STATE": str(self.state / "trust" / self.client_id),
            "CARNET_KEYS": str(self.state / "keys" / self.client_id),
            "CARNET_DATABASE_URL": f"sqlite+aiosqlite:///{self.state / 'data' / self.name}.db",
            "CARNET_HOST": self.host,
            "CARNET_PORT": str(self.port),
            "CARNET_SHUTDOWN_DEADLINE": str(DRAIN_WITHIN),
            "CARNET_ORDERS_SHARDS": str(shards),
            "CARNET_PLAYGROUND": str(playground).lower(),
        }
        if declared is not None:
            settings["CARNET_SERVICES"] = str(declared)
        if token_url is not None:
            settings["CARNET_BROKER_TOKEN_URL"] = token_url
        if passphrase is not None:
            settings["CARNET_KEY_PASSPHRASE"] = passphrase
        if self.name == CONSOLE:
            del settings["CARNET_DATABASE_URL"]
        return {"CARNET_PUBLIC_URL": self.url, **os.environ, **settings, **(more or {})}

    async def start(self, environment: Mapping[str, str]) -> Child:
        """Start its process; whether it gets ready is another question."""
        return await Child.start(
            self.name,
            # -P: what lies in the working directory is not imported.
            [sys.executable, "-P", "-m", "services", self.name],
            env=environment,
            cwd=Path.cwd(),
            log=self.log,
        )

    async def wait_until_ready(self, child: Child) -> None:
        """Return when its health says that it does its work, not only that it runs.

        Raises:
            ServiceDiedError: it ended instead.
            NotReadyError: it did not get there in time.
        """
        async with httpx.AsyncClient(timeout=ANSWER_WITHIN, trust_env=False) as client:

            async def ready() -> bool:
                try:
                    answer = await client.get(f"{self.url}/health/ready")
                except httpx.TransportError:
                    return False
                return answer.is_success

            if await child.until(ready, every=ASK_EVERY, within=READY_WITHIN):
                return
        if not child.running:
            raise death_of(child)
        raise NotReadyError(
            f"{self.name} was not ready within {READY_WITHIN:.0f} s; see {child.log}"
        )


async def drain(child: Child) -> None:
    """Let a service finish what it has begun, and end."""
    await child.stop(within=DRAIN_WITHIN + BEYOND_DRAIN)


def death_of(child: Child) -> ServiceDiedError:
    """Names the process, and what it said last."""
    return ServiceDiedError(f"{child.name} ended by itself; it said: {child.last_line()}")
