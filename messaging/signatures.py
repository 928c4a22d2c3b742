"""Who checks the signatures of what a consumer receives: itself, or a process beside it.

A signature is the largest part of a message's verification, and needs nothing but a public key and
the bytes that were signed. So a process of its own can check it on another core, while the consumer
goes on with everything else. (A thread does not help: it waits for Python's lock after each one.)
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from auth.keys import Signature
from messaging.checking import LENGTH, pack
from messaging.pause import Backoff, first_of

DEADLINE: Final = 5.0
"""Seconds for an answer, and for the end of a process that is ended."""

WORTH_ASKING: Final = 4
"""Signatures to check at once, from which on the process is asked."""

log = structlog.get_logger(__name__)


def has_several_cores() -> bool:
    """Whether a process beside this one would have a core to run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) > 1 if affinity else (os.cpu_count() or 1) > 1


class Signatures(Protocol):
    """Whoever finds out which signatures hold."""

    async def check(self, signatures: Sequence[Signature]) -> list[bool]:
        """Whether each of them holds. Raises nothing."""
        ...


class CheckedHere:
    """They are checked by whoever asks."""

    async def check(self, signatures: Sequence[Signature]) -> list[bool]:
        """As `Signatures.check`."""
        return [signature.holds() for signature in signatures]


class CheckingProcess:
    """They are checked by a process beside ours, which is started once it is of use.

    A process that is lost, answers too late, or answers anything but what it was asked, is ended;
    until the next one runs, all is checked here. So it saves time, and nothing depends on it.
    """

    def __init__(self) -> None:
        self._here = CheckedHere()
        self._turn = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._lost = asyncio.Event()
        self._process: _Process | None = None

    async def check(self, signatures: Sequence[Signature]) -> list[bool]:
        """As `Signatures.check`; by the process, if it runs and they are many."""
        if len(signatures) >= WORTH_ASKING:
            self._wanted.set()
            async with self._turn:
                if (verdicts := await self._ask(signatures)) is not None:
                    return verdicts
        return await self._here.check(signatures)

    async def _ask(self, signatures: Sequence[Signature]) -> list[bool] | None:
        process, verdicts = self._process, None
        if process is None:
            return None
        try:
            async with asyncio.timeout(DEADLINE):
                verdicts = await process.ask(signatures)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            log.warning("checking_process_lost", detail=repr(error))
        finally:
            if verdicts is None:  # also if we were cancelled: its answer is still to come
                self._process = None
                self._lost.set()
        return verdicts

    async def run(self, shutdown: asyncio.Event) -> None:
        """Have a process run, from when it is of use until `shutdown`."""
        backoff = Backoff()
        await first_of(self._wanted, shutdown, timeout=None)
        while not shutdown.is_set():
            try:
                process = await _Process.start()
            except OSError as error:
                log.warning("checking_process_not_started", detail=str(error))
            else:
                self._lost.clear()
                self._process = process
                try:
                    await first_of(self._lost, shutdown, timeout=None)
                finally:
                    self._process = None
                    await process.end()
            await backoff.pause(shutdown)


@dataclass(slots=True)
class _Process:
    """One that runs (`messaging.checking`), and the keys that it knows, by their thumbprints."""

    process: Process
    questions: asyncio.StreamWriter
    answers: asyncio.StreamReader
    keys: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def start(cls) -> _Process:
        """It gets nothing of our environment, where secrets are, but where to find its modules.

        Raises:
            OSError: it cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "messaging.checking"),
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=PIPE,
            stdout=PIPE,
        )
        if process.stdin is None or process.stdout is None:
            raise OSError("no pipes")
        return cls(process, process.stdin, process.stdout)

    async def ask(self, signatures: Sequence[Signature]) -> list[bool]:
        """Whether each of them holds.

        Raises:
            OSError, EOFError: it has ended.
            ValueError: that is no answer.
        """
        self.questions.write(self._question(signatures))
        await self.questions.drain()
        answer = await self.answers.readexactly(len(signatures))
        if not {0, 1}.issuperset(answer):
            raise ValueError("neither that it holds nor that it does not")
        return [verdict == 1 for verdict in answer]

    def _question(self, signatures: Sequence[Signature]) -> bytes:
        new: list[dict[str, Any]] = []
        for key, _, _ in signatures:
            if key.kid not in self.keys:
                self.keys[key.kid] = len(self.keys)
                new.append(dict(key.jwk))
        parts = (
            json.dumps(new).encode("ascii"),
            pack((self.keys[key.kid], signed, by) for key, signed, by in signatures),
        )
        return b"".join(LENGTH.pack(len(part)) + part for part in parts)

    async def end(self) -> None:
        """End it; it has nothing to lose."""
        with suppress(ProcessLookupError, TimeoutError):
            if self.process.returncode is None:
                self.process.kill()
            async with asyncio.timeout(DEADLINE):
                await self.process.wait()
