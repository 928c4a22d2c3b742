"""The benchmarks in their quick mode, for real: all run to their end, and say it in their form."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from benchmarks.results import RESULTS, read

WITHIN = 600
NAME = re.compile(r"[a-z]+(\.[a-z0-9_]+)+")
ONLY_AT_FULL_SIZE = re.compile(r"growth\.(sessions|revocations|body)|feed\.live_\d|revocation\.")
COARSE = "_broker_us"
"""Counted in hundredths of a second: a few messages may take none."""

WITHOUT_BROKER = "system.http_introspection"
LEFT_OUT = {
    "FastStream": re.compile("faststream"),
    "Celery": re.compile("celery"),
    "PostgreSQL": re.compile(r"postgres|growth\.workers"),
}


async def measure(results: Path) -> str:
    """Run all cases; what was said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", "--quick", "--results", str(results)),
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        async with asyncio.timeout(WITHIN):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()
    return said.decode()


def expected(said: str) -> set[str]:
    """The names that the committed figures have, but of what a quick run has smaller or not at all.

    said: what it said; it names what is not installed here.
    """
    names = {name for name in read(RESULTS) if not ONLY_AT_FULL_SIZE.match(name)}
    for left_out, part in LEFT_OUT.items():
        if f"left out: {left_out}" in said:
            names = {name for name in names if not part.search(name)}
    return names


@pytest.mark.timeout(WITHIN + 30)
async def test_a_quick_run_has_every_figure_and_keeps_those_of_others(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text('{"revocation.p99_ms": 9.5, "publish.sealed_per_s": -1}')

    said = await measure(results)

    figures = read(results)
    assert figures["revocation.p99_ms"] == 9.5
    assert all(NAME.fullmatch(name) for name in figures)
    assert all(number > 0 or name.endswith(COARSE) for name, number in figures.items())
    assert figures["feed.steady_fresh"] == figures["feed.mass_fresh"] == 1
    assert expected(said) - figures.keys() == set()
    if "private node" in said:
        measured = {name.removesuffix("_per_s") for name in figures if name.endswith("_per_s")}
        with_broker = measured - {WITHOUT_BROKER}
        assert {f"{name}{COARSE}" for name in with_broker} <= figures.keys()
        assert f"{WITHOUT_BROKER}{COARSE}" not in figures


async def test_an_unknown_case_is_refused_at_once() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks", "--only", "everything", stdout=PIPE, stderr=STDOUT
    )
    said, _ = await process.communicate()

    assert process.returncode == 2
    assert b"no case is named everything" in said
