"""Builds sdist and wheel, installs the wheel where nothing else is, and runs it there."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.release.errors import BuildError, ReleaseError, RunError

BUILD_WITHIN: Final = 120.0
INSTALL_WITHIN: Final = 600.0
RUN_WITHIN: Final = 180.0
"""Seconds: the demo starts a broker and three services."""

_OURS: Final = ("CARNET_", "PYTHON", "VIRTUAL_ENV")
"""Variables of ours, which nobody has who only installed the wheel."""


def build(root: Path, folder: Path) -> tuple[Path, Path]:
    """Build the sdist from the tree, and the wheel from the sdist, into `folder`.

    Raises:
        BuildError: hatchling says what is wrong.
    """
    _hatchling(root, folder, "sdist")
    sdist = _only(folder, "*.tar.gz")
    unpacked = folder / "unpacked"
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    _hatchling(_only(unpacked, "*"), folder, "wheel")
    shutil.rmtree(unpacked)
    return sdist, _only(folder, "*.whl")


def install(wheel: Path, requirements: Path, venv: Path) -> Path:
    """Install the wheel, with its locked requirements, into a new `venv`; return its `bin`.

    What is locked must be all that the wheel asks for.

    Raises:
        BuildError: a requirement has another hash, is missing, or does not fit.
    """
    python, uv = venv / "bin" / "python", shutil.which("uv")
    if uv is not None:
        pip: tuple[str, ...] = (uv, "pip")
        commands: list[Sequence[str]] = [(uv, "venv", "--python", sys.executable, str(venv))]
        into: tuple[str, ...] = ("--python", str(python))
    else:
        pip = (str(python), "-m", "pip")
        commands = [(sys.executable, "-m", "venv", str(venv))]
        into = ()
    commands += [
        (*pip, "install", *into, "--require-hashes", "--requirement", str(requirements)),
        (*pip, "install", *into, "--no-deps", str(wheel)),
        (*pip, "check", *into),
    ]
    for command in commands:
        _run(command, venv.parent, within=INSTALL_WITHIN, error=BuildError)
    return venv / "bin"


def check_installed(bin_folder: Path, folder: Path, version: str) -> str:
    """Whether what runs in the empty `folder` is what was installed.

    Raises:
        RunError: it is of another place or version.
    """
    asked = (
        "from importlib.metadata import version; import services; "
        "print(version('carnet'), services.__file__)"
    )
    said = _run(
        (str(bin_folder / "python"), "-c", asked), folder, within=RUN_WITHIN, error=RunError
    )
    told, _, place = said.strip().partition(" ")
    if told != version or not Path(place).is_relative_to(bin_folder.parent):
        raise RunError(f"installed is carnet {told} from {place}, not {version} from the wheel")
    return f"installed: carnet {version} with its locked requirements, in a clean environment"


def run_carnet(bin_folder: Path, folder: Path, *arguments: str) -> str:
    """Run a `carnet` command in `folder` and return what it said.

    Raises:
        RunError: it failed, or did not end in time.
    """
    path = f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}"
    return _run(
        (str(bin_folder / "carnet"), *arguments),
        folder,
        within=RUN_WITHIN,
        error=RunError,
        environment={"PATH": path},
    )


def _hatchling(root: Path, folder: Path, kind: str) -> None:
    command = (sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder))
    _run(command, root, within=BUILD_WITHIN, error=BuildError)


def _only(folder: Path, form: str) -> Path:
    found = list(folder.glob(form))
    if len(found) != 1:
        raise BuildError(f"{folder}: has {len(found)} files {form} after the build, not one")
    return found[0]


def _run(
    command: Sequence[str],
    folder: Path,
    *,
    within: float,
    error: type[ReleaseError],
    environment: Mapping[str, str] | None = None,
) -> str:
    foreign = {name: each for name, each in os.environ.items() if not name.startswith(_OURS)}
    shown = f"{Path(command[0]).name} {' '.join(command[1:3])}"
    try:
        ran = subprocess.run(  # noqa: S603 - our own commands
            command,
            cwd=folder,
            env=foreign | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise error(f"{shown} did not end within {within:.0f} s") from late
    if ran.returncode != 0:
        last = [line.strip() for line in ran.stdout.splitlines() if line.strip()][-1:]
        raise error(f"{shown} ended with {ran.returncode}: {''.join(last)}")
    return ran.stdout
