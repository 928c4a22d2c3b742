"""Checks that this checkout could be released: `python -m tests.release [--final]`.

The archives are left in `dist/`. Nothing is uploaded.
"""

import argparse
import shutil
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.release.building import build, check_installed, install, run_carnet
from tests.release.changelog import check_version, read_changelog
from tests.release.contents import check_sdist, check_wheel, sdist_files, tracked, wheel_files
from tests.release.errors import ReleaseError, RunError

ROOT: Final = Path(__file__).parents[2]


def check_release(root: Path, *, final: bool) -> None:
    """Check everything, a line for each.

    Raises:
        ReleaseError: the first thing that is wrong.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    changelog = read_changelog((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    _say(check_version(version, changelog, today=datetime.now(UTC).date(), final=final))
    with tempfile.TemporaryDirectory(prefix="carnet-release-") as made:
        folder = Path(made)
        sdist, wheel = build(root, folder)
        kept = tracked(root, packages)
        _say(check_sdist(sdist_files(sdist), kept))
        _say(check_wheel(wheel_files(wheel), kept))
        _check_run(root, wheel, folder, version)
        dist = root / "dist"
        shutil.rmtree(dist, ignore_errors=True)
        dist.mkdir()
        for archive in (sdist, wheel):
            shutil.copy2(archive, dist)
    _say(f"dist/: {sdist.name}, {wheel.name}")


def _check_run(root: Path, wheel: Path, folder: Path, version: str) -> None:
    bin_folder = install(wheel, root / "requirements" / "runtime.txt", folder / "venv")
    empty = folder / "empty"
    empty.mkdir()
    _say(check_installed(bin_folder, empty, version))
    if "demo" not in run_carnet(bin_folder, empty, "--help"):
        raise RunError("carnet --help does not name its commands")
    _say("carnet --help: names its commands")
    run_carnet(bin_folder, empty, "demo")
    _say("carnet demo: passed, in an empty folder")


def _say(line: str) -> None:
    sys.stdout.write(f"release: {line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__)
    parser.add_argument("--final", action="store_true", help="It is to be released now.")
    arguments = parser.parse_args()
    try:
        check_release(ROOT, final=arguments.final)
    except ReleaseError as error:
        sys.exit(f"release: {error.code}: {error}")


if __name__ == "__main__":
    main()
