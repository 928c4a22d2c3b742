"""Prometheus and promtool, from Debian's package, where they are there."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
UNPACKED: Final = ROOT / ".venv" / "prometheus" / "usr" / "bin"
"""Where `install_prometheus.sh` puts them."""


def require(program: str) -> str:
    """The path of a program of Debian's `prometheus`; skip the test where it is not there."""
    found = shutil.which(program, path=os.pathsep.join([os.environ["PATH"], str(UNPACKED)]))
    if found is None:
        pytest.skip(f"{program} is not there: sh tests/telemetry/install_prometheus.sh")
    return found


def run(program: str, *arguments: str) -> None:
    """Run it to its end; what it complains of fails the test."""
    ended = subprocess.run(  # noqa: S603 - our own arguments
        [require(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def run_with(program: str, given: str, *arguments: str) -> str:
    """As `run`, with `given` on its standard input; what it says."""
    ended = subprocess.run(  # noqa: S603 - our own arguments
        [require(program), *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr
