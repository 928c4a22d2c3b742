"""What a command shows while it works goes to a terminal, and into no answer."""

import os
import pty
import subprocess
import sys
from typing import Final

import pytest

COUNTED: Final = """
from services.cli.progress import bar
with bar(silent={silent}) as shown:
    task = shown.add_task("reading", total=2)
    shown.advance(task)
    print("answer")
"""
UNCOUNTED: Final = """
from services.cli.progress import working
with working("making queues"):
    print("answer")
"""


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        (COUNTED.format(silent=False), ["reading", "1/2"]),
        (UNCOUNTED, ["making queues"]),
        (COUNTED.format(silent=True), []),
    ],
    ids=["counted", "not counted", "silent"],
)
def test_a_bar_is_shown_on_a_terminal(script: str, shown: list[str]) -> None:
    ours, theirs = pty.openpty()
    try:
        answer = _run(script, stderr=theirs)
        os.set_blocking(ours, False)
        told = os.read(ours, 65536).decode() if shown else _nothing(ours)
    finally:
        os.close(ours)
        os.close(theirs)

    assert answer == "answer\n"
    assert all(part in told for part in shown)


@pytest.mark.parametrize("script", [COUNTED.format(silent=False), UNCOUNTED])
def test_a_file_gets_the_answer_alone(script: str) -> None:
    assert _run(script, stderr=subprocess.STDOUT).strip() == "answer"


def _run(script: str, *, stderr: int) -> str:
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    ).stdout


def _nothing(terminal: int) -> str:
    with pytest.raises(BlockingIOError):
        os.read(terminal, 1)
    return ""
