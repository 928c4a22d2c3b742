"""The list of attacks, with the tests that show what becomes of each."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
LIST: Final = HERE / "attacks.toml"


@dataclass(frozen=True)
class Attack:
    """One attack. A test named without parameters stands for all of them, a file for its tests."""

    section: str
    title: str
    tests: tuple[str, ...]

    def covers(self, node_id: str) -> bool:
        return any(_stands_for(test, node_id) for test in self.tests)

    def missing(self, node_ids: set[str]) -> list[str]:
        """What is named and does not exist."""
        return [t for t in self.tests if not any(_stands_for(t, node) for node in node_ids)]


def _stands_for(test: str, node_id: str) -> bool:
    if test == node_id or node_id.startswith((f"{test}[", f"{test}::")):
        return True
    # A database or broker may stand before or behind the parameter that is named.
    name, bracket, parameter = test.partition("[")
    there, _, parameters = node_id.partition("[")
    return bool(bracket) and name == there and _has(parameters[:-1], parameter[:-1])


def _has(parameters: str, wanted: str) -> bool:
    return parameters.startswith(f"{wanted}-") or parameters.endswith(f"-{wanted}")


def load(path: Path = LIST) -> list[Attack]:
    """Every attack, in the order of the list."""
    sections: Mapping[str, Mapping[str, list[str]]] = tomllib.loads(path.read_text())
    return [
        Attack(section, title, tuple(tests))
        for section, attacks in sections.items()
        for title, tests in attacks.items()
    ]


def files(attacks: list[Attack]) -> list[str]:
    """The files of all tests that are named."""
    return sorted({test.partition("::")[0] for attack in attacks for test in attack.tests})
