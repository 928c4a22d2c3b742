"""Signatures that a process beside the consumer checks, and what becomes of that process."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from auth.keys import Algorithm, Signature, SigningKey
from auth.message import CARNET_SEAL
from messaging import signatures
from messaging.signatures import WORTH_ASKING, CheckingProcess
from tests.messaging.market import sell
from tests.messaging.raw import WAIT, until
from tests.messaging.stall import Stall

MANY = 40
ALGORITHMS: list[Algorithm] = ["ES256", "RS256", "EdDSA"]


def made(key: SigningKey, count: int = MANY, *, good: Callable[[int], bool]) -> list[Signature]:
    """Signatures by a key; those that are not good are over something else."""
    inputs = [f"header.payload-{number}".encode() for number in range(count)]
    return [
        Signature(key.public, signed, key.sign(signed if good(number) else b"header.other"))
        for number, signed in enumerate(inputs)
    ]


@asynccontextmanager
async def running() -> AsyncIterator[CheckingProcess]:
    checking, shutdown = CheckingProcess(), asyncio.Event()
    task = asyncio.create_task(checking.run(shutdown))
    try:
        yield checking
    finally:
        shutdown.set()
        async with asyncio.timeout(WAIT):
            await task


def pid_of(checking: CheckingProcess) -> int | None:
    """The process's id, where one runs that is asked."""
    return checking._process.process.pid if checking._process else None


async def asked(checking: CheckingProcess) -> int:
    """Have it started; its id."""
    await checking.check(made(SigningKey.generate(), WORTH_ASKING, good=lambda _: True))
    await until(lambda: pid_of(checking) is not None)
    return pid_of(checking) or 0


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_it_finds_what_we_find(algorithm: Algorithm) -> None:
    key = SigningKey.generate(algorithm)
    some = made(key, good=lambda number: number % 3 > 0)
    cut = [one._replace(signature=one.signature[:-1]) for one in some[:2]]
    empty = [one._replace(signature=b"") for one in some[:2]]
    async with running() as checking:
        pid = await asked(checking)

        found = await checking.check([*some, *cut, *empty])

        assert pid_of(checking) == pid
    assert found == [number % 3 > 0 for number in range(MANY)] + [False] * 4


async def test_it_is_told_of_each_key_once_and_takes_none_for_another() -> None:
    one, other = SigningKey.generate(), SigningKey.generate()
    async with running() as checking:
        await asked(checking)
        for key, wrong in ((one, other), (other, one), (one, other)):
            good = made(key, good=lambda _: True)
            swapped = [each._replace(key=wrong.public) for each in good]

            assert await checking.check([*good, *swapped]) == [True] * MANY + [False] * MANY

        process = checking._process
        assert process is not None
        assert process.keys.keys() == {one.kid, other.kid}


async def test_it_is_not_started_for_a_few() -> None:
    key = SigningKey.generate()
    async with running() as checking:
        few = made(key, WORTH_ASKING - 1, good=lambda number: number > 0)

        assert await checking.check(few) == [False, True, True]

        assert not checking._wanted.is_set()
        await asked(checking)


async def test_what_it_has_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is not ours, where passwords and passphrases are."""
    monkeypatch.setenv("CARNET_DATABASE_URL", "postgresql://orders:secret@db/orders")
    async with running() as checking:
        pid = await asked(checking)
        await checking.check(made(SigningKey.generate(), good=lambda _: True))

        environment = await asyncio.to_thread(Path(f"/proc/{pid}/environ").read_bytes)

    assert b"secret" not in environment
    assert b"CARNET" not in environment


async def test_a_killed_one_costs_nothing_and_the_next_one_knows_no_keys() -> None:
    key = SigningKey.generate()
    some = made(key, good=lambda number: number % 2 > 0)
    right = [number % 2 > 0 for number in range(MANY)]
    async with running() as checking:
        first = await asked(checking)
        assert await checking.check(some) == right
        os.kill(first, signal.SIGKILL)

        assert await checking.check(some) == right

        await until(lambda: pid_of(checking) not in {None, first})
        assert await checking.check(some) == right
        assert pid_of(checking) not in {None, first}
        assert not is_there(first)


async def test_one_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "DEADLINE", 0.3)
    some = made(SigningKey.generate(), good=lambda number: number > 0)
    async with running() as checking:
        pid = await asked(checking)
        os.kill(pid, signal.SIGSTOP)

        async with asyncio.timeout(WAIT):
            assert await checking.check(some) == [number > 0 for number in range(MANY)]

        await until(lambda: not is_there(pid))


async def test_an_answer_that_nobody_waits_for_is_not_taken_for_the_next_one() -> None:
    key = SigningKey.generate()
    async with running() as checking:
        pid = await asked(checking)
        os.kill(pid, signal.SIGSTOP)
        given_up = asyncio.create_task(checking.check(made(key, good=lambda _: True)))
        await until(checking._turn.locked)
        given_up.cancel()
        await asyncio.wait([given_up])
        os.kill(pid, signal.SIGCONT)

        assert await checking.check(made(key, good=lambda _: False)) == [False] * MANY

        await until(lambda: not is_there(pid))


@pytest.mark.parametrize("answer", [b"\x02", b"1", b""])
async def test_what_is_no_answer_counts_for_nothing(
    answer: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another program in its place, which says something else to each question."""
    program = tmp_path / "messaging" / "checking.py"
    program.parent.mkdir()
    (program.parent / "__init__.py").touch()
    program.write_text(
        "import struct, sys\n"
        "length, = struct.unpack('>I', sys.stdin.buffer.read(4))\n"
        "sys.stdin.buffer.read(length)\n"
        f"sys.stdout.buffer.write({answer!r} * {MANY})\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    some = made(SigningKey.generate(), good=lambda _: False)
    async with running() as checking:
        await asked(checking)

        assert await checking.check(some) == [False] * MANY

        assert pid_of(checking) is None


async def test_where_none_can_be_started_all_is_checked_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-such-python"))
    some = made(SigningKey.generate(), good=lambda number: number > 0)
    async with running() as checking:
        for _ in range(3):
            assert await checking.check(some) == [number > 0 for number in range(MANY)]
        assert checking._wanted.is_set()
        assert pid_of(checking) is None


async def test_it_ends_with_the_consumer() -> None:
    async with running() as checking:
        pid = await asked(checking)
    assert not is_there(pid)


def test_it_ends_when_nobody_can_ask_any_more_and_not_before() -> None:
    """Whoever asks it may be killed; Ctrl-C goes to both, and the consumer may have work left."""
    with subprocess.Popen(
        [sys.executable, "-m", "messaging.checking"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        key = SigningKey.generate()
        for _ in range(2):
            question = signatures._Process._question(  # what a consumer would ask
                signatures._Process(None, None, None),  # type: ignore[arg-type]
                made(key, 1, good=lambda _: True),
            )
            process.stdin.write(question)
            process.stdin.flush()
            assert process.stdout.read(1) == b"\x01"
            process.send_signal(signal.SIGINT)
        process.stdin.close()
        assert process.wait(WAIT) == 0


async def test_a_forged_one_among_many_is_found_by_it(any_stall: Stall) -> None:
    """It is another seal's, which is genuine, by the same key."""
    any_stall.share()
    async with running() as checking:
        pid = await asked(checking)
        messages = [sell(str(number)) for number in range(MANY)]
        seal, other = (messages[place].envelope.headers[CARNET_SEAL] for place in (3, 2))
        forged = f"{seal.rpartition('.')[0]}.{other.rpartition('.')[2]}"
        messages[3] = messages[3].but(extra=((CARNET_SEAL, forged),))
        await any_stall.send(*messages)

        await any_stall.open(signatures=checking)

        await any_stall.settled(MANY)
        assert pid_of(checking) == pid
        process = checking._process
        assert process is not None
        assert process.keys  # so the consumer has asked it
    assert (await any_stall.dead_letter()).headers["carnet-reason"] == "bad_signature"
    assert await any_stall.sales() == sorted(str(number) for number in range(MANY) if number != 3)
    assert any_stall.refusals == []


async def test_no_message_waits_for_a_process_that_is_lost(
    any_stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed and stopped again and again meanwhile; each message is handled once."""
    monkeypatch.setattr(signatures, "DEADLINE", 0.3)
    total = 10 * MANY
    async with running() as checking:
        await any_stall.open(signatures=checking)
        for number in range(10):
            batch = [sell(f"{number * MANY + each}") for each in range(MANY)]
            await any_stall.send(*batch)
            if (pid := pid_of(checking)) is not None:
                with suppress(ProcessLookupError):  # it was ended for the last one already
                    os.kill(pid, signal.SIGKILL if number % 2 else signal.SIGSTOP)
        await any_stall.settled(total)
    assert any_stall.consumer.counts == {"done": total}
    assert len(await any_stall.sales()) == total
