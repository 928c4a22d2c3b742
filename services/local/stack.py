"""The whole system on one machine: a broker and three services, each a process of its own."""

import asyncio
import os
import time
from collections.abc import Collection, Coroutine, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from services.authority import Authority
from services.declared import DECLARED, read_all_declared
from services.errors import PortTakenError
from services.local.broker import Say, StackBroker, open_broker
from services.local.child import Child
from services.local.errors import StateUnusableError
from services.local.leftovers import sole_use
from services.local.logins import OPERATOR
from services.local.ports import LOOPBACK, free_ports, is_free
from services.local.running import forget, record
from services.local.service import CLIENTS, CONSOLE, Service, death_of, drain
from services.local.token_login import TokenLogin
from services.local.trust import make_local_trust
from services.settings import BROKER_RESOURCE, BrokerLogin

METRICS_PORT: Final = "CARNET_METRICS_PORT"


def _quiet(_line: str) -> None:
    """Say nothing."""


class LocalStack:
    """Runs the system in a state folder, from `start` to `stop`, or as a context manager."""

    def __init__(
        self,
        state: Path,
        *,
        broker: StackBroker | None = None,
        given_url: str | None = None,
        host: str = LOOPBACK,
        port: int | None = None,
        broker_login: BrokerLogin = "password",
        passphrase: str | None = None,
        throwaway: bool = False,
        shards: int = 1,
        only: Collection[str] = tuple(CLIENTS),
        playground: bool = False,
        console: bool = False,
        console_port: int | None = None,
        say: Say = _quiet,
    ) -> None:
        """Nothing happens yet.

        Args:
            state: folder of keys, databases, broker and logs; made where it is missing.
            broker: one that runs already and stays the caller's.
            given_url: URL of a broker to use; without it or `broker`, one of our own is run.
            host: where the gateway listens.
            port: where the gateway listens; a free one where none is named.
            broker_login: how the services log in at the broker. Tokens need a broker that knows
                our issuer's keys: one of our own does.
            passphrase: of the private keys.
            shards: of the order consumer's work.
            only: the services that `start` starts; `start_service` starts another one.
            playground: whether users may tamper with messages of their own.
            console: whether the operators' console is run too; on this machine's own address alone.
            console_port: where it listens; a free one where none is named.
            throwaway: whether what our own broker holds is thrown away with it.
            say: told what is being done, a line at a time.
        """
        self.state = state.resolve()
        self.processes: dict[str, Child] = {}
        self._port_is_fixed = port is not None
        users, orders, free, metrics, free_too, metrics_too = free_ports(6)
        self.services = {
            "users": Service("users", self.state, LOOPBACK, users),
            "orders": Service("orders", self.state, LOOPBACK, orders),
            "gateway": Service("gateway", self.state, host, free if port is None else port),
        }
        if console:
            port = free_too if console_port is None else console_port
            self.services[CONSOLE] = Service(CONSOLE, self.state, LOOPBACK, port)
        self._console_port_is_fixed = console and console_port is not None
        self._metrics_port = os.environ.get(METRICS_PORT) or str(metrics)
        self._console_metrics_port = metrics_too
        self._own: tuple[Service, ...] = ()
        self._by_token = broker_login == "token"
        self._passphrase = passphrase
        self._throwaway = throwaway
        self._shards = shards
        self._only = (*only, *([CONSOLE] if console else []))
        self._playground = playground
        self._say = say
        self._given_url = given_url
        self._broker = broker
        self._broker_is_ours = broker is None
        self._held = ExitStack()

    @property
    def gateway_url(self) -> str:
        """Where the gateway's API is."""
        return self.services["gateway"].url

    @property
    def console_url(self) -> str | None:
        """Where the console's page is; None where none is run."""
        console = self.services.get(CONSOLE)
        return None if console is None else f"{console.url}/console"

    @property
    def watches(self) -> tuple[str, ...]:
        """Where each service tells of its health and metrics, as `name=url`."""
        places = {
            service.name: service.url
            for service in (*self.services.values(), *self._own)
            if service.name != CONSOLE
        }
        places["gateway"] = f"http://{LOOPBACK}:{self._metrics_port}"
        return tuple(f"{name}={url}" for name, url in places.items())

    @property
    def broker(self) -> StackBroker:
        """The broker, once started."""
        if self._broker is None:
            raise RuntimeError("the stack does not run")
        return self._broker

    def amqp_url(self, login: str) -> str:
        """The AMQP URL of a client id, or of `OPERATOR`."""
        return self.broker.url(login)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the broker and the services; return when all of them are ready.

        Raises:
            StartError: what is missing or in the way, in one line. Nothing is left running.
            BrokerError: the broker that was given is not there, or refuses us.
            AuthError: keys or statement in the state folder cannot be used.
        """
        gateway = self.services["gateway"]
        if self._port_is_fixed and not is_free(gateway.host, gateway.port):
            raise PortTakenError(f"port {gateway.port} is taken: set CARNET_PORT to another port")
        if self._console_port_is_fixed and not is_free(LOOPBACK, self.services[CONSOLE].port):
            raise PortTakenError(
                f"port {self.services[CONSOLE].port} is taken: set CARNET_CONSOLE_PORT to another "
                "port"
            )
        try:
            self._hold_state()
            passphrase = None if self._passphrase is None else self._passphrase.encode()
            declared = read_all_declared(self.state / DECLARED)
            self._own = tuple(
                Service(each.client, self.state, LOOPBACK, free)
                for each, free in zip(declared, free_ports(len(declared)), strict=True)
            )
            await asyncio.to_thread(
                make_local_trust,
                self.state,
                passphrase,
                declared=declared,
                playground=self._playground,
            )
            if self._broker is None:
                self._broker = await open_broker(
                    self.state / "broker",
                    given_url=self._given_url,
                    tokens=self._token_login() if self._by_token else None,
                    say=self._say,
                    shards=self._shards,
                    declared=declared,
                )
            self._record(OPERATOR, {"CARNET_AMQP_URL": self._broker.url(OPERATOR)})
            self._say(f"starting the services on {self._broker.description}")
            await _all(*(self.start_service(name) for name in self._only))
            for own in self._own:
                self._prepare(own)
        except BaseException:
            await self.kill()
            raise

    async def start_service(self, name: str) -> None:
        """Start one service; return when it is ready.

        Raises:
            ServiceDiedError: it ended instead.
            NotReadyError: it did not become ready in time.
        """
        service = self.services[name]
        child = await service.start(self._prepare(service))
        self.processes[name] = child
        await service.wait_until_ready(child)

    def _prepare(self, service: Service) -> dict[str, str]:
        """What a service is told, written down for commands; it is not started."""
        environment = service.environment(
            self.amqp_url(service.client_id),
            self._passphrase,
            token_url=f"{self.services['users'].url}/oauth/token" if self._by_token else None,
            shards=self._shards,
            declared=self.state / DECLARED,
            playground=self._playground,
            more=self._told_alone(service),
        )
        self._record(service.name, environment)
        return environment

    def _told_alone(self, service: Service) -> dict[str, str]:
        """What one service is told, and no other."""
        if service.name == CONSOLE:
            watches = ",".join(self.watches)
            return {
                "CARNET_CONSOLE_WATCHES": watches,
                "CARNET_PUBLIC_URL": service.url,
                METRICS_PORT: str(self._console_metrics_port),
            }
        if service.name != "gateway":
            return {}
        console = self.services.get(CONSOLE)
        leads = {} if console is None else {"CARNET_CONSOLE_URL": console.url}
        return {METRICS_PORT: self._metrics_port, **leads}

    async def stop_service(self, name: str) -> None:
        """Let one service drain, and end."""
        await drain(self.processes.pop(name))

    async def watch(self) -> None:
        """Wait until a process ends that nobody stopped; never return.

        Raises:
            ServiceDiedError: names it, with the last line of its log.
        """
        while True:
            watched = self._all_processes()
            await _any_ended(watched)
            for child in watched:
                if not child.running and child in self._all_processes():
                    raise death_of(child)

    async def stop(self) -> None:
        """Drain console and gateway, then the orders, then the users; then stop the broker."""
        try:
            for name in reversed((*CLIENTS, CONSOLE)):
                if name in self.processes:
                    await self.stop_service(name)
            if self._broker is not None and self._broker_is_ours:
                await (self._broker.discard() if self._throwaway else self._broker.stop())
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End whatever still runs, at once."""
        for child in self.processes.values():
            await child.kill()
        self.processes.clear()
        if self._broker is not None and self._broker_is_ours:
            await self._broker.kill()
            self._broker = None
        self._held.close()

    def _token_login(self) -> TokenLogin:
        now = time.time()
        return TokenLogin.of(Authority(self.state).current(now=now), BROKER_RESOURCE, now=now)

    def _hold_state(self) -> None:
        try:
            for folder in (self.state, self.state / "data", self.state / "logs"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held.enter_context(sole_use(self.state))
            self._held.callback(forget, self.state)
        except OSError as error:
            raise StateUnusableError(self.state, error) from error

    def _record(self, name: str, environment: Mapping[str, str]) -> None:
        try:
            record(self.state, name, environment)
        except OSError as error:
            raise StateUnusableError(self.state, error) from error

    def _all_processes(self) -> list[Child]:
        ours = self._broker.process if self._broker and self._broker_is_ours else None
        return [*self.processes.values(), *([ours] if ours else [])]


async def _all(*work: Coroutine[Any, Any, None]) -> None:
    """Do all at once; the first error ends the rest and is raised as it is."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _any_ended(children: list[Child]) -> None:
    waits = [asyncio.create_task(child.process.wait()) for child in children]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
