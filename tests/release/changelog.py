"""What the changelog says about the version: released, or still to come."""

import re
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

from packaging.version import InvalidVersion, Version

from tests.release.errors import VersionError

_SECTION: Final = re.compile(r"^## (.*)$", re.MULTILINE)
_RELEASE: Final = re.compile(r"\[(?P<version>[^\]]+)\] - (?P<date>\d{4}-\d{2}-\d{2})")
_UNRELEASED: Final = "[Unreleased]"


@dataclass(frozen=True, slots=True)
class Release:
    """A section `## [1.2.0] - 2026-01-31` (Keep a Changelog 1.1)."""

    version: Version
    day: date


@dataclass(frozen=True, slots=True)
class Changelog:
    """Its releases, newest first, and whether something waits for the next one."""

    releases: tuple[Release, ...]
    pending: bool


def read_changelog(text: str) -> Changelog:
    """Read the sections of a changelog.

    Raises:
        VersionError: a section is no release, or they are not in their order.
    """
    _, *parts = _SECTION.split(text)
    sections = list(zip(parts[::2], parts[1::2], strict=True))
    pending = False
    if sections and sections[0][0] == _UNRELEASED:
        pending = re.search(r"^- ", sections.pop(0)[1], re.MULTILINE) is not None
    releases = tuple(_release(title) for title, _ in sections)
    for newer, older in pairwise(releases):
        if newer.version <= older.version or newer.day < older.day:
            raise VersionError(
                f"CHANGELOG.md: {newer.version} stands above {older.version}; put the newest first"
            )
    return Changelog(releases, pending)


def _release(title: str) -> Release:
    wrong = VersionError(
        f"CHANGELOG.md: '## {title}' is no release; write it as '## [1.2.0] - 2026-01-31'"
    )
    if (found := _RELEASE.fullmatch(title)) is None:
        raise wrong
    try:
        return Release(Version(found["version"]), date.fromisoformat(found["date"]))
    except ValueError as error:
        raise wrong from error


def check_version(version: str, changelog: Changelog, *, today: date, final: bool) -> str:
    """Say what the version is: the newest release, or the one that comes after it.

    With entries under Unreleased it is to come, so nothing was released under it. Without any, it
    is the newest release.

    final: whether it is to be released now, and so may not be one that is still to come.

    Raises:
        VersionError: it is neither.
    """
    try:
        ours = Version(version)
    except InvalidVersion as error:
        raise VersionError(f"pyproject.toml: {version} is no version (PEP 440)") from error
    newest = changelog.releases[0] if changelog.releases else None
    if newest is not None and newest.day > today:
        raise VersionError(f"CHANGELOG.md: {newest.version} is of a day that is still to come")
    if changelog.pending:
        if newest is not None and ours <= newest.version:
            raise VersionError(
                f"pyproject.toml: {version} was released, and CHANGELOG.md has entries since; "
                "set the version that they will be released as"
            )
        if final:
            raise VersionError(
                f"CHANGELOG.md: entries are under [Unreleased]; name them [{version}] - {today}"
            )
        return f"{version} is still to be released"
    if newest is None or ours != newest.version:
        named = "nothing" if newest is None else str(newest.version)
        raise VersionError(
            f"pyproject.toml says {version}, and CHANGELOG.md has {named} as its newest release"
        )
    return f"{version} is the release of {newest.day}"
