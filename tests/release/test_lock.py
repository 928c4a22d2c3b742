"""What is locked can be installed by any pip of Python 3.11, whatever is released later."""

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parents[2] / "requirements"
PIN = re.compile(r"^(?P<name>[\w.-]+)(?:\[(?P<extras>[\w,.-]+)\])?==(?P<version>\S+)", re.MULTILINE)


@pytest.mark.parametrize("lock", ["runtime.txt", "build.txt", "dev.txt"])
def test_extras_that_are_asked_for_are_locked_with_their_name(lock: str) -> None:
    """Up to 23.2, pip takes the newest release for them else, and refuses it for want of a hash."""
    pins = {
        canonicalize_name(pin["name"]): set((pin["extras"] or "").split(","))
        for pin in PIN.finditer((FOLDER / lock).read_text(encoding="utf-8"))
    }
    locked = [each for each in distributions() if canonicalize_name(each.name) in pins]
    missing = {
        f"{asked.name}{sorted(asked.extras)}, for {each.name}"
        for each in locked
        for asked in map(Requirement, each.requires or [])
        if _wanted(asked, pins[canonicalize_name(each.name)])
        if not asked.extras <= pins[canonicalize_name(asked.name)]
    }

    assert len(locked) > 5
    assert missing == set()


def _wanted(asked: Requirement, extras: set[str]) -> bool:
    """Whether a distribution that is locked with these extras asks for it here."""
    marker = asked.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras})
