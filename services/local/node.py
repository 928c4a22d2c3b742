"""A RabbitMQ node of our own: in a folder of ours, on free loopback ports, for us alone.

It shares nothing with a node of the machine: home, cookie, name, port mapper, data and
configuration are its own, and it runs as whoever runs us.
"""

import asyncio
import json
import os
import re
import secrets
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from messaging.probe import accepts
from services.local.child import Child
from services.local.errors import NodeControlError, NodeStartError, StateUnusableError
from services.local.installation import Installation
from services.local.leftovers import Started, end_leftovers, forget, record, sole_use
from services.local.logins import Login
from services.local.ports import LOOPBACK, free_ports
from services.local.token_login import PLUGIN, TokenLogin

NAME: Final = "carnet@localhost"
START_WITHIN: Final = 60.0
STOP_WITHIN: Final = 15.0
CONTROL_WITHIN: Final = 60.0
PROBE_EVERY: Final = 0.2
PROBE_WITHIN: Final = 5.0
REASON: Final = 200  # characters


class PrivateNode:
    """One node in `folder`. What it holds outlives a stop; its ports and logins do not."""

    def __init__(
        self,
        installation: Installation,
        folder: Path,
        definitions: Mapping[str, Any],
        *,
        management: bool = False,
        tokens: TokenLogin | None = None,
    ) -> None:
        """`tokens`: whose tokens log in beside the logins that the definitions name."""
        self.folder = folder.resolve()
        self.port, self.management_port, self._epmd_port, self._distribution_port = free_ports(4)
        self._installation = installation
        self._definitions = definitions
        self._management = management
        self._tokens = tokens
        self._held = ExitStack()
        self._epmd: Child | None = None
        self._server: Child | None = None

    @property
    def process(self) -> Child | None:
        """The node's process, while there is one."""
        return self._server

    @property
    def ports(self) -> set[int]:
        """All that it listens on."""
        return {self.port, self.management_port, self._epmd_port, self._distribution_port}

    async def start(self, login: Login, *, within: float = START_WITHIN) -> None:
        """Start the node; return when it takes `login`, which the definitions must name.

        Raises:
            NodeStartError: it ended, or does not take the login in time.
            StateInUseError: another process of ours runs a node in this folder.
            StateUnusableError: the folder cannot be written.
        """
        try:
            self._lay_out()
        except OSError as error:
            raise StateUnusableError(self.folder, error) from error
        try:
            await end_leftovers(self._record, within=STOP_WITHIN)
            await self._start_processes()
            await self._wait_for(login, within)
        except BaseException:
            await self.kill()
            raise

    async def stop(self, *, within: float = STOP_WITHIN) -> None:
        """Let the node write down what it holds and end; kill it after `within` seconds."""
        if self._server is not None:
            await self._server.stop(within=within)
        await self.kill()

    async def kill(self) -> None:
        """End the node at once, as a power cut would: confirmed messages are on disk."""
        for child in (self._server, self._epmd):
            if child is not None:
                await child.kill()
        self._server = self._epmd = None
        forget(self._record)
        self._held.close()

    async def control(self, *arguments: str, tool: str = "rabbitmqctl") -> None:
        """Run one of the node's own tools, with its cookie and its port mapper.

        Raises:
            NodeControlError: it failed; the text is what it said.
        """
        control = await asyncio.create_subprocess_exec(
            str(self._installation.server.with_name(tool)),
            *arguments,
            env=self._environment(),
            cwd=self.folder,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
        )
        try:
            async with asyncio.timeout(CONTROL_WITHIN):
                said, _ = await control.communicate()
        except BaseException:
            control.kill()
            await control.wait()
            raise
        if control.returncode != 0:
            raise NodeControlError(" ".join(said.decode(errors="replace").split())[:REASON])

    async def forget(self) -> None:
        """Remove what it held, once it has ended."""
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def _record(self) -> Path:
        return self.folder / "processes.json"

    def _lay_out(self) -> None:
        for part in ("", "home", "log"):
            (self.folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held.enter_context(sole_use(self.folder))
        cookie = self.folder / "home" / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(20))
            cookie.chmod(0o400)
        definitions = self.folder / "definitions.json"
        definitions.touch(mode=0o600)
        definitions.write_text(json.dumps(self._definitions))
        (self.folder / "rabbitmq-env.conf").write_text("")
        (self.folder / "rabbitmq.conf").write_text(self._configuration(definitions))
        if self._tokens is not None:
            for name, key in self._tokens.files().items():
                (self.folder / name).write_bytes(key)
        plugins = ["rabbitmq_management"] if self._management else []
        plugins += [] if self._tokens is None else [PLUGIN]
        (self.folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")

    def _configuration(self, definitions: Path) -> str:
        lines = [
            f"listeners.tcp.private = {LOOPBACK}:{self.port}",
            # A node that starts empty with definitions makes no guest.
            f"load_definitions = {definitions}",
            "log.console = false",
            f"log.file = {self.folder / 'log' / 'node.log'}",
        ]
        if self._management:
            lines += [
                f"management.tcp.ip = {LOOPBACK}",
                f"management.tcp.port = {self.management_port}",
            ]
        if self._tokens is not None:
            lines.append(self._tokens.configuration(str(self.folder)))
        return "\n".join([*lines, ""])

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder / "home"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_CRASH_DUMP": os.devnull,
            "RABBITMQ_NODENAME": NAME,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "node.pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
            # The script then becomes the node, so that the process we hold is the node's own.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ("-kernel inet_dist_use_interface {127,0,0,1}"),
        }

    async def _start_processes(self) -> None:
        env = self._environment()
        # The node starts a port mapper where it finds none, and leaves it behind: we bring one.
        mapper = ["-port", str(self._epmd_port), "-address", LOOPBACK]
        self._epmd = await Child.start(
            "epmd",
            [str(self._installation.epmd), *mapper],
            env=env,
            cwd=self.folder,
            log=self.folder / "log" / "epmd.log",
        )
        self._server = await Child.start(
            "rabbitmq-server",
            [str(self._installation.server)],
            env=env,
            cwd=self.folder,
            log=self.folder / "log" / "start.log",
        )
        record(
            self._record,
            [
                Started(self._server.process.pid, env["HOME"]),
                Started(self._epmd.process.pid, " ".join(mapper)),
            ],
        )

    async def _wait_for(self, login: Login, within: float) -> None:
        server = self._server
        if server is None:
            raise NodeStartError("the node was stopped while it started")
        url = login.url(LOOPBACK, self.port)
        if not await server.until(
            lambda: accepts(url, within=PROBE_WITHIN), every=PROBE_EVERY, within=within
        ):
            raise NodeStartError(
                f"the private RabbitMQ node did not come up within {within:.0f} s; it said: "
                f"{_reason(server)} (see {self.folder / 'log'})"
            )


def _reason(server: Child) -> str:
    """What a node says that fails to boot: a banner, an Erlang term, then much more."""
    said = server.log.read_text(errors="replace")
    failure = re.search(r"BOOT FAILED\n=+\n(.+?)\n\s*\n", said, re.DOTALL)
    return " ".join(failure[1].split())[:REASON] if failure else server.last_line()
