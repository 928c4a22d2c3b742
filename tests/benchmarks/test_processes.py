"""Processor time, as `/proc` has it: a process's own, and that of all that it began."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.processes import processor_time, processor_time_of_all

SPENT = 0.2
BURN = f"""
import time
while time.process_time() < {SPENT}:
    pass
"""
TELL_AND_WAIT = "print('done', flush=True); input()"
ALIVE = f"""{BURN}
{TELL_AND_WAIT}
"""
PARENT_OF_ONE = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
PARENT_OF_ONE_THAT_ENDED = f"{PARENT_OF_ONE}\n{TELL_AND_WAIT}"


@contextmanager
def running(program: str, child: str) -> Iterator[int]:
    """A process id, once `done` was said; all of it ends with its standard input."""
    with subprocess.Popen(  # noqa: S603 - programs of this file
        [sys.executable, "-c", program, child],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process.pid


@pytest.mark.parametrize(
    ("program", "child"),
    [
        pytest.param(PARENT_OF_ONE, ALIVE, id="a child that runs"),
        pytest.param(PARENT_OF_ONE_THAT_ENDED, BURN, id="a child that has ended"),
    ],
)
def test_what_a_child_has_used_counts(program: str, child: str) -> None:
    with running(program, child) as pid:
        assert processor_time_of_all(pid) - processor_time(pid) >= SPENT * 0.9


def test_a_process_that_is_gone_has_used_nothing_more() -> None:
    with running(ALIVE, "") as pid:
        pass

    assert processor_time_of_all(pid) == 0
