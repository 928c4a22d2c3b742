"""Every attack on the list has a test, and every test that is named exists."""

import sys
from subprocess import run

import pytest

from tests.attacks.catalogue import ROOT, Attack, files, load

SECTIONS = {
    "Token form",
    "Claims",
    "Message",
    "Trust feed and keys",
    "Issuer",
    "Gateway",
    "Console",
    "The invariant",
}


def _node_ids(paths: list[str]) -> set[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    collected = run([*command, *paths], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter
    return {line for line in collected.stdout.splitlines() if "::" in line}


@pytest.fixture(scope="module")
def node_ids() -> set[str]:
    return _node_ids(files(load()))


def test_every_attack_names_a_test() -> None:
    attacks = load()

    assert {attack.section for attack in attacks} == SECTIONS
    assert all(attack.tests for attack in attacks)


def test_every_named_test_exists(node_ids: set[str]) -> None:
    assert [test for attack in load() for test in attack.missing(node_ids)] == []


def test_the_threat_model_has_every_attack_with_its_tests() -> None:
    document = (ROOT / "docs" / "threat-model.md").read_text()

    for attack in load():
        assert f"| {attack.title} |" in document
        for test in attack.tests:
            assert test.partition("[")[0].removeprefix("tests/") in document


@pytest.mark.parametrize("test", ["a.py::b", "a.py::b[x]", "a.py"])
def test_a_test_stands_for_its_parameters(test: str) -> None:
    assert Attack("", "", (test,)).covers("a.py::b[sqlite-x]")


@pytest.mark.parametrize("test", ["a.py::c", "a.py::b[y]", "a.py::b[xx]", "b.py"])
def test_a_test_stands_for_no_other(test: str) -> None:
    assert not Attack("", "", (test,)).covers("a.py::b[sqlite-x]")
