"""What the console shows, commands show too."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from services.demo.client import ShopClient
from services.errors import StartError
from services.local.stack import LocalStack
from tests.e2e.letterbox import Letterbox, told
from tests.services.console.desk import Desk

pytestmark = pytest.mark.timeout(300)

PASSWORD = "correct horse battery staple"
LINES = [{"sku": "tea", "quantity": 1, "unit_price": "1"}]
OURS = ("users", "orders", "gateway", "console")
WAIT = 30.0


async def test_queues_are_those_that_the_console_counts(desk: Desk, box: Letterbox) -> None:
    listed = await box.run("queues", "--json")

    assert listed.code == 0, told(listed)
    seen = (await desk.get("/queues"))["queues"]
    assert [(each["name"], each["kind"]) for each in json.loads(listed.out)] == [
        (each["name"], each["kind"]) for each in seen
    ]
    for_people = await box.run("queues")
    assert for_people.code == 0, told(for_people)
    assert "billing.commands.retry.10m" in for_people.out


async def test_parties_are_those_that_the_console_looks_at(desk: Desk, box: Letterbox) -> None:
    listed = await box.run("standing", "--json")

    parties = {each["name"]: each for each in json.loads(listed.out)}
    seen = await _seen(desk)
    assert parties.keys() == seen.keys()
    for name in OURS:
        assert (parties[name]["ready"], parties[name]["error"]) == (True, None)
        assert parties[name]["key_set_version"] == seen[name]["key_set_version"]
    assert listed.code == 1  # the service that is declared and does not run
    for_people = await box.run("standing")
    assert "nobody answers there" in for_people.out


async def _seen(desk: Desk) -> dict[str, Any]:
    """The parties at the console, once a look at each of ours was answered in its time."""
    async with asyncio.timeout(WAIT):
        while True:
            seen = {each["name"]: each for each in (await desk.get("/standing"))["parties"]}
            if all(seen[name]["up"] for name in OURS):
                return seen
            await asyncio.sleep(0.2)


async def test_rates_are_of_what_happens_while_one_looks(
    watched: LocalStack, box: Letterbox
) -> None:
    async def use() -> None:
        async with ShopClient(watched.gateway_url) as shop:
            name = f"ada-{id(shop):x}"
            await shop.register(name, PASSWORD)
            account = await shop.sign_in(name, PASSWORD)
            while True:
                await shop.place(account, LINES)

    using = asyncio.create_task(use())
    listed = await box.run("rates", "--seconds", "3", "--json")
    for_people = await box.run("rates", "--seconds", "1")
    using.cancel()

    assert listed.code == 0, told(listed)
    series = json.loads(listed.out)["series"]
    for name in ("messages.accepted", "published", "http.requests", "verify.p50", "http.p99"):
        assert series[name] > 0, name
    assert series["messages.refused"] == 0
    assert for_people.code == 0, told(for_people)
    assert "to verify a message" in for_people.out


async def test_who_tells_nothing_has_no_rates(box: Letterbox) -> None:
    listed = await box.run("rates", "--watch", "nobody=http://127.0.0.1:1")

    assert listed.code == 1
    assert "nobody: nobody answers there" in listed.err


async def test_a_service_is_named(watched: LocalStack, box: Letterbox) -> None:
    orders = f"orders={watched.services['orders'].url}"

    listed = await box.run("standing", "--watch", orders, "--json")

    assert listed.code == 0, told(listed)
    (party,) = json.loads(listed.out)
    assert (party["name"], party["ready"], party["fresh"]) == ("orders", True, True)
    assert (await box.run("standing", "--watch", "orders")).code == 2


def test_where_no_stack_runs_it_says_what_to_do(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["standing"], env={"CARNET_STATE": str(tmp_path)})

    assert isinstance(listed.exception, StartError)
    assert "no stack runs in this folder" in str(listed.exception)
