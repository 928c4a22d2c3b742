"""A RabbitMQ of our own in a container, by the `docker` command."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from messaging.probe import accepts
from services.local.child import Child
from services.local.command import Finished, run
from services.local.errors import NodeStartError, StateUnusableError
from services.local.logins import Login
from services.local.ports import LOOPBACK
from services.local.token_login import PLUGIN, TokenLogin

IMAGE: Final = "rabbitmq:4-management"
ANSWER_WITHIN: Final = 10.0
PULL_WITHIN: Final = 300.0
START_WITHIN: Final = 90.0
STOP_WITHIN: Final = 20.0
REMOVE_WITHIN: Final = 60.0
PROBE_EVERY: Final = 0.3
PROBE_WITHIN: Final = 5.0

ETC: Final = "/etc/rabbitmq"
CONFIGURATION: Final = f"load_definitions = {ETC}/carnet.json\n"
PLUGINS: Final = ("rabbitmq_management", "rabbitmq_prometheus")
"""Those that the image has enabled."""


async def engine_answers() -> bool:
    """Whether there is a container engine that we may use."""
    return (await run("docker", "version", within=ANSWER_WITHIN)).succeeded


async def image_is_here() -> bool:
    """Whether the engine has the image."""
    return (await run("docker", "image", "inspect", IMAGE, within=ANSWER_WITHIN)).succeeded


async def pull_image() -> bool:
    """Try to have the engine fetch the image."""
    return (await run("docker", "pull", "--quiet", IMAGE, within=PULL_WITHIN)).succeeded


class BrokerContainer:
    """One container; what it holds stays in a volume that belongs to the state folder."""

    def __init__(
        self, folder: Path, definitions: Mapping[str, Any], *, tokens: TokenLogin | None = None
    ) -> None:
        """`tokens`: whose tokens log in beside the logins that the definitions name."""
        self.folder = folder.resolve()
        self.port = 0
        self.name = f"carnet-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]}"
        self._definitions = definitions
        self._tokens = tokens
        self._attached: Child | None = None

    @property
    def process(self) -> Child | None:
        """What ends when the container does."""
        return self._attached

    async def start(self, login: Login, *, within: float = START_WITHIN) -> None:
        """Start it; return when it takes `login`, which the definitions must name.

        Raises:
            NodeStartError: it did not come up in time.
            StateUnusableError: the folder cannot be written.
        """
        try:
            files = self._lay_out()
        except OSError as error:
            raise StateUnusableError(self.folder, error) from error
        await self._remove()
        try:
            await self._create(files)
            await self._attach()
            await self._wait_for(login, within)
        except BaseException:
            await self.kill()
            raise

    async def stop(self, *, within: float = STOP_WITHIN) -> None:
        """Let it write down what it holds and end; remove it, but not what it holds."""
        if self._attached is not None:
            await self._docker("stop", "-t", f"{within:.0f}", self.name, within=within + 10)
        await self.kill()

    async def kill(self) -> None:
        """End it at once and remove it, but not what it holds."""
        await self._remove()
        if self._attached is not None:
            await self._attached.kill()
            self._attached = None

    async def forget(self) -> None:
        """Remove what it held, once it has ended."""
        await self._docker("volume", "rm", "--force", self.name)

    def _lay_out(self) -> dict[Path, str]:
        # The folder is ours alone; the files are read by another user in the container.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "log").mkdir(exist_ok=True)
        placed = {}
        for place, content in self._files().items():
            file = self.folder / Path(place).name
            file.write_bytes(content)
            file.chmod(0o644)
            placed[file] = f"{ETC}/{place}"
        return placed

    def _files(self) -> dict[str, bytes]:
        definitions = {"carnet.json": json.dumps(self._definitions).encode()}
        if self._tokens is None:
            return {**definitions, "conf.d/20-carnet.conf": CONFIGURATION.encode()}
        configuration = CONFIGURATION + self._tokens.configuration(ETC)
        return {
            **definitions,
            **self._tokens.files(),
            "conf.d/20-carnet.conf": configuration.encode(),
            "enabled_plugins": f"[{','.join((*PLUGINS, PLUGIN))}].\n".encode(),
        }

    async def _create(self, files: Mapping[Path, str]) -> None:
        created = await self._docker(
            *("create", "--name", self.name, "--hostname", "carnet"),
            *("--publish", f"{LOOPBACK}::5672", "--volume", f"{self.name}:/var/lib/rabbitmq"),
            IMAGE,
        )
        steps = [created] if not created.succeeded else []
        for file, place in files.items():
            steps.append(await self._docker("cp", str(file), f"{self.name}:{place}"))
        for step in steps:
            if not step.succeeded:
                raise NodeStartError(f"the container engine refuses {IMAGE}: {step.last_line}")

    async def _attach(self) -> None:
        # Attached, a signal to the command reaches the broker: it ends when we are killed.
        self._attached = await Child.start(
            "rabbitmq",
            ["docker", "start", "--attach", self.name],
            env=os.environ,
            cwd=self.folder,
            log=self.folder / "log" / "container.log",
        )

    async def _wait_for(self, login: Login, within: float) -> None:
        attached = self._attached
        if attached is None:
            raise NodeStartError("the container was stopped while it started")
        if not await attached.until(lambda: self._accepts(login), every=PROBE_EVERY, within=within):
            raise NodeStartError(
                f"the RabbitMQ container was not ready within {within:.0f} s; it said: "
                f"{attached.last_line()} (see {attached.log})"
            )

    async def _accepts(self, login: Login) -> bool:
        if not self.port:
            answer = await self._docker("port", self.name, "5672/tcp")
            if not answer.succeeded or not answer.output.strip():
                return False
            self.port = int(answer.output.split()[0].rpartition(":")[2])
        return await accepts(login.url(LOOPBACK, self.port), within=PROBE_WITHIN)

    async def _remove(self) -> None:
        # Not `--rm`: the engine would remove it some time after it has ended.
        self.port = 0
        await self._docker("rm", "--force", self.name, within=REMOVE_WITHIN)

    @staticmethod
    async def _docker(*arguments: str, within: float = ANSWER_WITHIN) -> Finished:
        return await run("docker", *arguments, within=within)
