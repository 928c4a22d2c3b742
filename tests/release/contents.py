"""What is in wheel and sdist, compared with what git keeps of the packages."""

import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from tests.release.errors import ContentsError

SHIPPED: Final = ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml")
"""What an sdist has beside the packages."""
BUILT: Final = (".gitignore", "PKG-INFO")
"""What hatchling adds to it."""

SECRET_NAMES: Final = ("*.pem", "*.key", "*.password", "*.url", "*.cookie", "*.db", ".env*")
SECRET_TEXT: Final = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}"  # a key, not the word for one
)

_NAMED: Final = 5
"""Of many files, so many are named."""


def tracked(root: Path, packages: Iterable[str]) -> frozenset[str]:
    """The files of the packages that git keeps, by their path from `root`.

    Raises:
        ContentsError: `root` is no checkout of git.
    """
    listed = subprocess.run(  # noqa: S603 - our own arguments
        ["git", "-C", str(root), "ls-files", "-z", "--", *packages],  # noqa: S607 - whichever git
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        raise ContentsError(f"{root} is no checkout of git, so nothing says what belongs to it")
    return frozenset(name for name in listed.stdout.split("\0") if name)


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """Its files without its own metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if not name.partition("/")[0].endswith(".dist-info") and not name.endswith("/")
        }


def sdist_files(sdist: Path) -> dict[str, bytes]:
    """Its files, by their path below its one folder."""
    found = {}
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            if file is not None:
                found[member.name.partition("/")[2]] = file.read()
    return found


def check_wheel(files: Mapping[str, bytes], kept: frozenset[str]) -> str:
    """The packages as they are in the tree, each file of data with them, and nothing else.

    Raises:
        ContentsError: names what is missing, too much, or secret.
    """
    return _check("wheel", files, kept)


def check_sdist(files: Mapping[str, bytes], kept: frozenset[str]) -> str:
    """What the wheel is built from, and nothing else.

    Raises:
        ContentsError: as `check_wheel`.
    """
    own = {name: content for name, content in files.items() if name not in BUILT}
    return _check("sdist", own, kept | set(SHIPPED))


def _check(archive: str, files: Mapping[str, bytes], expected: frozenset[str]) -> str:
    if secret := sorted(name for name, content in files.items() if _is_secret(name, content)):
        raise ContentsError(f"{archive}: has a secret in it: {_in_short(secret)}")
    if missing := sorted(expected - files.keys()):
        raise ContentsError(f"{archive}: lacks {_in_short(missing)}; see [tool.hatch] for why")
    if extra := sorted(files.keys() - expected):
        raise ContentsError(
            f"{archive}: has {_in_short(extra)}, which git does not keep there; "
            "add it, or take it out"
        )
    return f"{archive}: {len(files)} files, all that belong there and no other"


def _is_secret(name: str, content: bytes) -> bool:
    path = PurePosixPath(name)
    return any(path.match(form) for form in SECRET_NAMES) or bool(SECRET_TEXT.search(content))


def _in_short(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
