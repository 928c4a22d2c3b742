"""The benchmarks in their quick mode, for real: they run to their end, and say it in their form."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from benchmarks.results import read

WITHIN = 300
NAME = re.compile(r"[a-z]+(\.[a-z0-9_]+)+")


async def measure(results: Path, *cases: str) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks", "--quick", "--results", str(results)),
        *(part for case in cases for part in ("--only", case)),
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
    return read(results)


@pytest.mark.timeout(WITHIN + 30)
async def test_a_quick_run_adds_its_figures_and_keeps_the_others(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text('{"revocation.p99_ms": 9.5, "publish.sealed_per_s": -1}')

    figures = await measure(results, "consume", "publish")

    assert figures["revocation.p99_ms"] == 9.5
    assert all(NAME.fullmatch(name) and number > 0 for name, number in figures.items())
    assert {
        "consume.carnet_over_handwritten_unverified",
        "consume.carnet_over_handwritten_pyjwt",
        "consume.carnet_over_client_limit",
        "consume.client_limit_cpu_us",
        "consume.client_limit_mib",
        "publish.sealed_over_unsealed",
        "publish.sealed_per_s",
    } <= figures.keys()


@pytest.mark.timeout(WITHIN + 30)
async def test_a_quick_run_tells_what_the_feed_costs_and_the_issuer_carries(tmp_path: Path) -> None:
    figures = await measure(tmp_path / "results.json", "feed", "issuer")

    assert all(NAME.fullmatch(name) and number > 0 for name, number in figures.items())
    assert figures["feed.steady_fresh"] == figures["feed.mass_fresh"] == 1
    assert {
        "feed.hear_revocation_us",
        "feed.live_2000_take_s",
        "feed.steady_p99_ms",
        "feed.mass_last_ms",
        "feed.herd_page_issuer_ms_each",
        "issuer.sign_in_cpu_ms",
        "issuer.exchange_cpu_ms",
        "issuer.sign_out_cpu_ms",
    } <= figures.keys()


async def test_an_unknown_case_is_refused_at_once() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks", "--only", "everything", stdout=PIPE, stderr=STDOUT
    )
    said, _ = await process.communicate()

    assert process.returncode == 2
    assert b"no case is named everything" in said
