"""Version and changelog: what fits together, and each way in which they do not."""

from datetime import date

import pytest

from tests.release.__main__ import ROOT
from tests.release.changelog import check_version, read_changelog
from tests.release.errors import VersionError

TODAY = date(2026, 2, 1)
RELEASED = """# Changelog

## [Unreleased]

## [1.1.0] - 2026-01-31

### Added
- A thing.

## [1.0.0] - 2025-12-24

- All of it.
"""
PENDING = RELEASED.replace("## [Unreleased]\n", "## [Unreleased]\n\n### Added\n- Another.\n")
FIRST = "# Changelog\n\n## [Unreleased]\n\n- Everything.\n"


@pytest.mark.parametrize(
    ("version", "text", "final", "said"),
    [
        ("1.1.0", RELEASED, False, "1.1.0 is the release of 2026-01-31"),
        ("1.1.0", RELEASED, True, "1.1.0 is the release of 2026-01-31"),
        ("1.2.0", PENDING, False, "1.2.0 is still to be released"),
        ("0.1.0", FIRST, False, "0.1.0 is still to be released"),
    ],
)
def test_a_version_is_the_newest_release_or_the_one_to_come(
    *, version: str, text: str, final: bool, said: str
) -> None:
    assert check_version(version, read_changelog(text), today=TODAY, final=final) == said


@pytest.mark.parametrize(
    ("version", "text", "final", "said"),
    [
        ("1.0.0", RELEASED, False, "has 1.1.0 as its newest release"),
        ("1.2.0", RELEASED, False, "has 1.1.0 as its newest release"),
        ("0.1.0", "# Changelog\n\n## [Unreleased]\n", False, "has nothing as its newest"),
        ("1.1.0", PENDING, False, "1.1.0 was released, and CHANGELOG.md has entries since"),
        ("1.1.0.dev1", PENDING, False, "was released"),
        ("1.2.0", PENDING, True, "name them [1.2.0] - 2026-02-01"),
        ("1.1.0", RELEASED.replace("2026-01-31", "2026-02-02"), False, "still to come"),
        ("one", RELEASED, False, "is no version"),
    ],
)
def test_a_version_that_does_not_fit_is_refused(
    *, version: str, text: str, final: bool, said: str
) -> None:
    with pytest.raises(VersionError) as refused:
        check_version(version, read_changelog(text), today=TODAY, final=final)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("[1.1.0] - 2026-01-31", "1.1.0 (2026-01-31)", "is no release"),
        ("[1.1.0] - 2026-01-31", "[1.1.0] - 2026-01-32", "is no release"),
        ("[1.1.0] - 2026-01-31", "[1.1.x] - 2026-01-31", "is no release"),
        ("[1.1.0] - 2026-01-31", "[0.9.0] - 2026-01-31", "put the newest first"),
        ("[1.1.0] - 2026-01-31", "[1.0.0] - 2026-01-31", "put the newest first"),
        ("[1.1.0] - 2026-01-31", "[1.1.0] - 2025-01-31", "put the newest first"),
    ],
)
def test_a_changelog_in_disorder_is_refused(before: str, after: str, said: str) -> None:
    with pytest.raises(VersionError) as refused:
        read_changelog(RELEASED.replace(before, after))

    assert said in str(refused.value)


def test_our_own_changelog_can_be_read() -> None:
    read_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
