"""What was refused is seen, explained, released once, and discarded, on the running system."""

import asyncio
import json
import re
import shlex
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from auth.explain import decode_unverified
from auth.keys import SigningKey
from auth.seal import Sealer
from services.contracts.topology import GATEWAY, ORDERS_COMMANDS
from services.demo.client import Account, ShopClient
from services.local.stack import LocalStack
from tests.e2e.conftest import SignUp
from tests.e2e.letterbox import GRACE, PASSWORD, WITHIN, Ended, Letterbox, open_letterbox, told

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations-dead-letters.md"
pytestmark = pytest.mark.timeout(600)

TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.")
BULK = 300


@pytest_asyncio.fixture(scope="module")
async def letterbox(
    stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Letterbox]:
    async with open_letterbox(stack, tmp_path_factory.mktemp("desk")) as box:
        added = await box.run(
            "accounts", "add", GRACE, "--role", "operator", "--password-file", "grace.password"
        )
        assert added.code == 0, told(added)
        yield box


@pytest_asyncio.fixture
async def box(letterbox: Letterbox) -> Letterbox:
    await letterbox.empty()
    return letterbox


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN):
        while not await condition():  # noqa: ASYNC110 - asked over HTTP, or of a queue
            await asyncio.sleep(0.02)


async def _until_placed(shop: ShopClient, account: Account, order_id: str) -> None:
    async def placed() -> bool:
        return (await shop.order(account, order_id) or {}).get("state") == "placed"

    await _until(placed)


def _clean(ended: Ended) -> Ended:
    """No token that could be used, and no password, in what a command says."""
    for text in (ended.out, ended.err):
        assert not TOKEN.search(text)
        assert PASSWORD not in text
    return ended


async def _list(box: Letterbox, *filters: str) -> list[dict[str, Any]]:
    listed = _clean(await box.dead_letters("list", "--json", *filters))
    assert listed.code == 0, told(listed)
    lines: list[dict[str, Any]] = json.loads(listed.out)
    return lines


async def test_what_came_too_late_is_listed_explained_exported_and_released(
    box: Letterbox, shop: ShopClient, sign_up: SignUp
) -> None:
    ada, ben = await sign_up("ada"), await sign_up("ben")
    order_id, late = box.place(ada)
    _, other = box.place(ben)
    await box.refused(late, other)

    (line,) = await _list(box, "--reason", "too_old", "--user", _sub(ada), "--service", GATEWAY)
    assert line["id"] == order_id
    assert await _list(box, "--reason", "poison") == []
    assert await _list(box, "--until", "2020-01-01") == []
    assert len(await _list(box, "--since", "2020-01-01")) == 2

    shown = _clean(await box.dead_letters("show", order_id))
    assert shown.code == 0, told(shown)
    assert "too_old: the work has waited for too long" in shown.out
    assert "order-service" in shown.out
    (explained,) = json.loads((await box.dead_letters("show", order_id, "--json")).out)
    verdicts = {check["check"]: check["verdict"] for check in explained["checks"]}
    assert (verdicts["seal"], verdicts["time"]) == ("passed", "refused")
    assert verdicts["revocation"] == "not reached"
    assert explained["carnet"]["claims"]["sub"] == _sub(ada)

    exported = _clean(await box.dead_letters("export")).out.splitlines()
    assert {json.loads(each)["id"] for each in exported} >= {order_id}

    released = _clean(await box.dead_letters("release", order_id))
    assert (released.code, released.out) == (0, "released 1\n"), told(released)
    await _until_placed(shop, ada, order_id)
    assert [each["user"] for each in await _list(box)] == [_sub(ben)]


async def test_a_release_and_a_discard_are_in_the_audit_log(
    box: Letterbox, sign_up: SignUp
) -> None:
    ada = await sign_up("ada")
    first, late = box.place(ada)
    second, later = box.place(ada)
    await box.refused(late, later)

    await box.dead_letters("release", first)
    await box.dead_letters("discard", second)

    log = [json.loads(line) for line in (await box.run("audit", "export")).out.splitlines()]
    done = {entry["what"]: entry for entry in log if entry["what"] in {"release", "discard"}}
    assert first in done["release"]["why"]
    assert second in done["discard"]["why"]
    assert {entry["whom"] for entry in done.values()} == {_sub(ada)}
    assert {entry["client"] for entry in done.values()} == {"operator-desk"}


async def test_what_expired_is_released(box: Letterbox, shop: ShopClient, sign_up: SignUp) -> None:
    ada = await sign_up("ada")
    order_id, late = box.place(ada, age=3600, sealed_after=400)
    await box.refused(late)
    assert [line["reason"] for line in await _list(box)] == ["expired"]

    released = await box.dead_letters("release", "--reason", "expired", "--json")

    assert released.code == 0, told(released)
    assert json.loads(released.out) == {"released": 1, "stay": {}, "refusals": []}
    await _until_placed(shop, ada, order_id)


async def test_what_is_revoked_is_released_only_if_that_is_named(
    box: Letterbox, shop: ShopClient, sign_up: SignUp
) -> None:
    ada = await sign_up("ada")
    await box.run("revoke", "--user", ada.name)
    again = await shop.sign_in(ada.name, ada.password)
    order_id = await _revoked(box, shop, ada, again)

    stays = _clean(await box.dead_letters("release", order_id))
    assert stays.code == 1
    assert "1 stay: 1 revoked" in stays.out
    assert len(await _list(box)) == 1

    released = await box.dead_letters("release", order_id, "--lift-revocation")
    assert released.code == 0, told(released)
    await _until_placed(shop, again, order_id)


async def _revoked(box: Letterbox, shop: ShopClient, ada: Account, again: Account) -> str:
    """The id of a command that was refused as revoked: the service may hear of that later."""
    async with asyncio.timeout(WITHIN):
        while True:
            order_id, command = box.place(ada, age=1)
            await box.publisher.publish(command, deadline=20)
            while (order := await shop.order(again, order_id)) is None:  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(0.05)
            if order["state"] == "refused":
                await box.raw.until_count(ORDERS_COMMANDS.dead, 1)
                return order_id


async def test_what_was_never_genuine_stays_until_it_is_discarded(
    box: Letterbox, sign_up: SignUp
) -> None:
    ada = await sign_up("ada")
    stranger = Sealer(GATEWAY, SigningKey.generate())
    forged_id, forged = box.place(ada, age=1, gateway=stranger)
    _, moved = box.place(ada, age=1)
    moved = type(moved)(route=moved.route, body=b"{}", headers=moved.headers)
    await box.refused(forged, moved)

    released = _clean(await box.dead_letters("release", "--all"))
    assert released.code == 1
    assert "released 0; 2 stay: 1 seal_mismatch, 1 unknown_key" in released.out

    (explained,) = json.loads((await box.dead_letters("show", forged_id, "--json")).out)
    verdicts = {check["check"]: check["verdict"] for check in explained["checks"]}
    assert verdicts["key"] == "refused"

    discarded = _clean(await box.dead_letters("discard", "--all"))
    assert (discarded.code, discarded.out) == (0, "discarded 2\n"), told(discarded)
    assert await _list(box) == []


async def test_what_is_discarded_is_not_taken_when_it_comes_again(
    box: Letterbox, shop: ShopClient, sign_up: SignUp
) -> None:
    ada = await sign_up("ada")
    order_id, late = box.place(ada)
    marker, after = box.place(ada, age=1)
    await box.refused(late)
    assert (await box.dead_letters("discard", order_id)).code == 0

    await box.publisher.publish(late, deadline=20)
    await box.publisher.publish(after, deadline=20)

    await _until_placed(shop, ada, marker)
    assert (await shop.order(ada, order_id) or {}).get("state") == "refused"
    assert await box.raw.count(ORDERS_COMMANDS.dead) == 0


async def test_copies_of_a_letter_are_one_line(box: Letterbox, sign_up: SignUp) -> None:
    """As a consumer leaves them that died before it could acknowledge."""
    ada = await sign_up("ada")
    _, late = box.place(ada)
    await box.refused(late, late, late)

    assert [line["copies"] for line in await _list(box)] == [3]


async def test_a_customer_releases_nothing(box: Letterbox, sign_up: SignUp) -> None:
    ada = await sign_up("ada")
    _, late = box.place(ada)
    await box.refused(late)

    asked = ("dead-letters", "release", "--all", "--operator", ada.name, "--password-file", "-")
    refused = _clean(await box.run(*asked, stdin=ada.password))

    assert refused.code == 1
    assert "1 stay: 1 insufficient_scope" in refused.out
    wrong = await box.run(*asked, stdin="not the password of hers")
    assert wrong.code == 1
    assert "cannot sign in" in wrong.err
    assert len(await _list(box)) == 1


async def test_a_bulk_release_that_is_killed_again_and_again_does_everything_once(
    box: Letterbox, shop: ShopClient, sign_up: SignUp
) -> None:
    ada = await sign_up("ada")
    commands = [box.place(ada) for _ in range(BULK)]
    await box.refused(*(envelope for _, envelope in commands))

    async def placed(count: int) -> bool:
        return len(await shop.orders(ada)) >= count

    asked = ("release", "--reason", "too_old", "--password-file", "grace.password")
    for share in (BULK // 4, BULK // 2):
        process = await box.start("dead-letters", *asked)
        await _until(partial(placed, share))
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        await _until_returned(box)
    assert await box.raw.count(ORDERS_COMMANDS.dead)
    released = await box.run("dead-letters", *asked)

    assert released.code == 0, told(released)
    await _until(partial(placed, BULK))
    await box.raw.until_count(ORDERS_COMMANDS.name, 0)
    assert {order["id"] for order in await shop.orders(ada)} == {each for each, _ in commands}
    assert await _list(box) == []
    # Each was told once that it was refused, and once that it was placed.
    async with shop.events(ada, last_event_id="0") as events:
        types = [(await anext(events)).type for _ in range(2 * BULK)]
        assert types.count("orders.placed.v1") == BULK


async def _until_returned(box: Letterbox) -> None:
    """Wait until the broker has noticed that who held the letters is no more."""

    async def nobody_reads() -> bool:
        queue = await box.raw.channel.declare_queue(ORDERS_COMMANDS.dead, passive=True)
        return not queue.declaration_result.consumer_count

    await _until(nobody_reads)


async def test_the_commands_that_the_document_names_work_as_written(
    box: Letterbox, sign_up: SignUp
) -> None:
    text = DOCUMENT.read_text()
    commands = [
        line.removeprefix("$ ")
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("carnet dead-letters")
    ]
    assert len(commands) >= 8
    ada = await sign_up("ada")
    (message_id,) = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text))
    (box.folder / "letters.jsonl").unlink(missing_ok=True)

    for command in commands:
        await box.empty()
        _, named = box.place(ada, message_id=message_id)
        _, other = box.place(ada, message_id=str(uuid.uuid4()))
        await box.lay(named)
        await box.lay(other)
        arguments = shlex.split(command.partition(">")[0])[1:]
        ended = _clean(await box.run(*arguments))
        assert ended.code == 0, (command, told(ended))


def _sub(account: Account) -> str:

    return str(decode_unverified(account.access_token).unverified_claims["sub"])
