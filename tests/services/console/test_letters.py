"""Dead letters at the console: seen, explained, released, discarded; and nothing is lost."""

import asyncio
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest

from auth.keys import SigningKey
from auth.message import Route
from auth.seal import Sealer
from messaging.broker import Broker
from messaging.deadletters import Reading
from messaging.envelope import MAX_HEADERS, size_of
from messaging.topology import DEAD
from services.console.letters import Bounded
from services.contracts.topology import GATEWAY, ORDER_SERVICE, ORDERS_COMMANDS
from services.demo.client import Account, ShopClient
from services.local.logins import OPERATOR
from services.local.ports import LOOPBACK
from services.local.running import told
from services.local.stack import LocalStack
from tests.e2e.letterbox import Letterbox
from tests.services.console.desk import PATIENCE, Desk, sub_of, until

pytestmark = pytest.mark.timeout(300)

MANY = 300
LINE = {"id", "reason", "service", "user", "type", "failed_at", "copies", "digest"}


async def _placed(shop: ShopClient, account: Account, order_id: str) -> None:
    async def placed() -> bool:
        return (await shop.order(account, order_id) or {}).get("state") == "placed"

    await until(placed)


async def test_letters_are_found_by_what_is_known_of_them(
    desk: Desk, box: Letterbox, ada: Account
) -> None:
    late_id, late = box.place(ada)
    forged_id, forged = box.place(ada, age=1, gateway=Sealer(GATEWAY, SigningKey.generate()))
    await box.refused(late)
    await box.refused(forged)

    found = await desk.get("/letters")

    assert found["queue"] == ORDERS_COMMANDS.name
    assert found["queues"] == [ORDERS_COMMANDS.name, "billing.commands"]
    assert [each["id"] for each in found["letters"]] == [forged_id, late_id]  # the newest first
    assert found["letters"][0].keys() == LINE
    assert (found["total"], found["complete"]) == (2, True)
    assert found["reasons"] == {"too_old": 1, "unknown_key": 1}

    of_one_reason = await desk.get("/letters", reason="too_old")
    assert [each["id"] for each in of_one_reason["letters"]] == [late_id]
    assert (of_one_reason["total"], of_one_reason["reasons"]) == (1, found["reasons"])
    both = await desk.letters(reason=["too_old", "unknown_key"], user=sub_of(ada), service=GATEWAY)
    assert len(both) == 2
    assert [each["id"] for each in await desk.letters(search=late_id[4:20].upper())] == [late_id]
    assert await desk.letters(user=str(uuid.uuid4())) == []
    assert await desk.letters(until="2020-01-01T00:00:00Z") == []
    assert len(await desk.letters(since="2020-01-01T00:00:00Z")) == 2
    assert await box.raw.count(ORDERS_COMMANDS.dead) == 2


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"queue": "orders.commands.retry.1s"}, 404, "unknown_queue"),
        ({"since": "yesterday"}, 422, "invalid_request"),
        ({"since": "2026-01-01T00:00:00"}, 422, "invalid_request"),
        ({"reason": [str(number) for number in range(51)]}, 422, "invalid_request"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    desk: Desk, query: dict[str, Any], status: int, code: str
) -> None:
    assert (await desk.get("/letters", expect=status, **query))["code"] == code


async def test_a_letter_is_explained_check_by_check(
    desk: Desk, box: Letterbox, ada: Account
) -> None:
    order_id, late = box.place(ada)
    await box.refused(late)
    (line,) = await desk.letters()

    answer = await desk.get(f"/letters/{line['digest']}")

    assert (answer["id"], answer["reason"], answer["refused_by"]) == (
        order_id,
        "too_old",
        "order-service",
    )
    assert answer["carnet"]["claims"]["sub"] == sub_of(ada)
    verdicts = {check["check"]: check["verdict"] for check in answer["checks"]}
    assert (verdicts["seal"], verdicts["time"]) == ("passed", "refused")
    assert verdicts["scope"] == "not reached"
    assert {frozenset(check) for check in answer["checks"]} == {
        frozenset({"check", "question", "verdict", "detail"})
    }
    assert (late.headers["authorization"]).removeprefix("Bearer ") not in str(answer)
    assert (await desk.get(f"/letters/{'0' * 64}", expect=404))["code"] == "unknown_letter"
    assert (await desk.get("/letters/nonsense", expect=422))["code"] == "invalid_request"


async def test_what_is_released_is_done_and_what_is_forged_stays_with_its_code(
    desk: Desk, box: Letterbox, shop: ShopClient, ada: Account
) -> None:
    order_id, late = box.place(ada)
    forged_id, forged = box.place(ada, age=1, gateway=Sealer(GATEWAY, SigningKey.generate()))
    await box.refused(late, forged)
    digests = [line["digest"] for line in await desk.letters()]

    answer = await desk.post("/letters/release", queue=ORDERS_COMMANDS.name, letters=digests)

    assert (answer["done"], answer["stay"]) == (1, {"unknown_key": 1})
    (refusal,) = answer["refusals"]
    assert refusal["id"] == forged_id
    assert refusal["why"].startswith("unknown_key: ")
    await _placed(shop, ada, order_id)
    assert [line["id"] for line in await desk.letters()] == [forged_id]


async def test_a_revocation_is_lifted_only_if_that_is_asked_for(
    desk: Desk, box: Letterbox, shop: ShopClient, ada: Account
) -> None:
    order_id, late = box.place(ada)
    await box.refused(late)
    await desk.delete(f"/accounts/{ada.name}/sessions")
    (line,) = await desk.letters()
    these: dict[str, Any] = {"queue": ORDERS_COMMANDS.name, "letters": [line["digest"]]}

    assert (await desk.post("/letters/release", **these))["stay"] == {"revoked": 1}
    answer = await desk.post("/letters/release", **these, lift_revocation=True)

    assert (answer["done"], answer["stay"]) == (1, {})
    await _placed(shop, await shop.sign_in(ada.name, ada.password), order_id)


async def test_what_is_discarded_is_gone_and_is_not_taken_when_it_comes_again(
    desk: Desk, box: Letterbox, shop: ShopClient, ada: Account
) -> None:
    order_id, late = box.place(ada)
    _, forged = box.place(ada, age=1, gateway=Sealer(GATEWAY, SigningKey.generate()))
    await box.refused(late, forged)
    digests = [line["digest"] for line in await desk.letters()]

    answer = await desk.post("/letters/discard", queue=ORDERS_COMMANDS.name, letters=digests)

    assert answer == {"done": 2, "stay": {}, "refusals": []}
    assert await desk.letters() == []
    marker, after = box.place(ada, age=1)
    await box.publisher.publish(late, deadline=20)
    await box.publisher.publish(after, deadline=20)
    await _placed(shop, ada, marker)
    assert (await shop.order(ada, order_id) or {}).get("state") == "refused"
    assert await box.raw.count(ORDERS_COMMANDS.dead) == 0


async def test_a_letter_that_is_there_no_more_is_said_so(desk: Desk, box: Letterbox) -> None:
    del box
    these: dict[str, Any] = {"queue": ORDERS_COMMANDS.name, "letters": ["0" * 64]}

    answer = await desk.post("/letters/release", **these)

    assert (answer["done"], answer["stay"]) == (0, {"not_found": 1})


@pytest.mark.parametrize(
    "letters", [[], ["not a digest"], [f"{number:064x}" for number in range(501)]]
)
async def test_what_names_no_letters_is_refused(desk: Desk, letters: list[str]) -> None:
    these: dict[str, Any] = {"queue": ORDERS_COMMANDS.name, "letters": letters}

    assert (await desk.post("/letters/release", expect=422, **these))["code"] == "invalid_request"


async def test_whoever_looks_at_the_same_time_sees_every_letter(
    desk: Desk, box: Letterbox, ada: Account
) -> None:
    """A reading holds the letters: two at once would each see a part of them."""
    for _ in range(20):
        await box.lay(box.place(ada)[1])

    looks = await asyncio.gather(*(desk.get("/letters") for _ in range(6)))

    assert [look["total"] for look in looks] == [20] * 6


async def test_nothing_is_lost_when_a_browser_goes_away_in_the_middle(
    watched: LocalStack, desk: Desk, box: Letterbox, ada: Account
) -> None:
    placed = [box.place(ada) for _ in range(MANY)]
    await asyncio.gather(*(box.lay(envelope) for _, envelope in placed))
    console = watched.services["console"]
    request = (
        f"GET /console/api/letters HTTP/1.1\r\nHost: {console.host}\r\n"
        f"Authorization: Bearer {desk.tokens['access_token']}\r\n\r\n"
    )

    for _ in range(5):
        _, writer = await asyncio.open_connection(console.host, console.port)
        writer.write(request.encode())
        await writer.drain()
        writer.transport.abort()

    found = await desk.get("/letters")
    assert found["total"] == MANY
    assert len(found["letters"]) == MANY
    await _until_idle(watched)
    assert await box.raw.count(ORDERS_COMMANDS.dead) == MANY


async def _until_idle(stack: LocalStack) -> None:
    """Wait until the console answers nobody, not even who has gone."""
    port = (told(stack.state, "console") or {})["CARNET_METRICS_PORT"]

    async def idle() -> bool:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://{LOOPBACK}:{port}/metrics")
        return "\nhttp_server_active_requests 0\n" in answer.text

    await until(idle)


async def test_nothing_is_lost_when_the_console_stops_in_the_middle(
    watched: LocalStack, box: Letterbox, ada: Account, desk: Desk
) -> None:
    placed = [box.place(ada) for _ in range(MANY)]
    await asyncio.gather(*(box.lay(envelope) for _, envelope in placed))

    async def look_again_and_again() -> None:
        with suppress(httpx.TransportError):
            while True:
                await desk.get("/letters")

    looking = asyncio.create_task(look_again_and_again())
    async with asyncio.timeout(PATIENCE):
        while await box.raw.count(ORDERS_COMMANDS.dead) == MANY:
            pass  # until a reading holds some

    await watched.stop_service("console")
    try:
        async with asyncio.timeout(PATIENCE):
            await looking
        await box.raw.until_count(ORDERS_COMMANDS.dead, MANY)
    finally:
        await watched.start_service("console")


async def test_a_letter_that_has_no_room_for_a_release_holds_up_no_other(
    desk: Desk, box: Letterbox, shop: ShopClient, ada: Account
) -> None:
    """No seal covers what is hung on a message beside it."""
    order_id, late = box.place(ada)
    full_id, full = box.place(ada)
    room = MAX_HEADERS - size_of(full.headers) - 400  # for what the letter's own notes take
    await box.lay(replace(full, headers={**full.headers, "carnet-ballast": "x" * room}))
    await box.lay(late)
    await box.raw.until_count(ORDERS_COMMANDS.dead, 2)
    digests = [line["digest"] for line in await desk.letters()]

    answer = await desk.post("/letters/release", queue=ORDERS_COMMANDS.name, letters=digests)

    assert (answer["done"], answer["stay"]) == (1, {"oversized_headers": 1})
    await _placed(shop, ada, order_id)
    assert [line["id"] for line in await desk.letters()] == [full_id]


async def test_a_letter_with_a_carnet_of_any_length_holds_up_no_other(
    desk: Desk, box: Letterbox, shop: ShopClient, ada: Account
) -> None:
    order_id, late = box.place(ada)
    await box.lay(late)
    carnet, now = "x" * 66_000, time.time()
    seal = Sealer(GATEWAY, SigningKey.generate()).command(
        route=late.route,
        audience=ORDER_SERVICE,
        message_id=str(uuid.uuid4()),
        body=late.body,
        carnet=carnet,
        now=now,
        expires_at=now + 60,
    )
    await box.raw.publish(
        DEAD.name,
        ORDERS_COMMANDS.dead,
        late.body,
        headers={"authorization": f"Bearer {carnet}", "carnet-seal": seal},
        type=late.route.type,
    )
    await box.raw.until_count(ORDERS_COMMANDS.dead, 2)
    digests = [line["digest"] for line in await desk.letters()]

    answer = await desk.post("/letters/release", queue=ORDERS_COMMANDS.name, letters=digests)

    assert (answer["done"], answer["stay"]) == (1, {"malformed_token": 1})
    await _placed(shop, ada, order_id)


async def test_what_somebody_else_holds_meanwhile_was_not_read(
    watched: LocalStack, box: Letterbox, ada: Account
) -> None:
    """A command, say. Nobody shall be told that it is not there."""
    for _ in range(3):
        await box.lay(box.place(ada)[1])
    await box.raw.until_count(ORDERS_COMMANDS.dead, 3)
    broker = await Broker(watched.amqp_url(OPERATOR), name="reader").start(20)
    try:
        async with Reading(broker.consuming, ORDERS_COMMANDS.dead) as reading:
            queue = await box.raw.channel.get_queue(ORDERS_COMMANDS.dead, ensure=False)
            held = await queue.get()

            bounded = Bounded(reading, PATIENCE)

            assert len([each async for each in bounded]) == 2
            assert not bounded.complete
        await held.nack(requeue=True)
    finally:
        await broker.close(20)


async def test_letters_of_a_service_of_ones_own_are_judged_by_what_it_declares(
    desk: Desk, box: Letterbox, ada: Account
) -> None:
    """One that was never for it can be seen and taken away, and not be released."""
    queue = "billing.commands"
    _, envelope = box.place(ada)
    notes = {"carnet-reason": "unknown_type", "carnet-failed-at": "2026-01-01T00:00:00Z"}
    route = Route(DEAD.name, f"{queue}.dead", envelope.route.type)
    laid = replace(envelope, route=route, headers={**envelope.headers, **notes})
    await box.publisher.publish(laid, deadline=20)

    (line,) = await desk.letters(queue=queue)
    answer = await desk.get(f"/letters/{line['digest']}", queue=queue)
    verdicts = {check["check"]: check["verdict"] for check in answer["checks"]}
    assert verdicts["presence"] == "refused"

    these: dict[str, Any] = {"queue": queue, "letters": [line["digest"]]}
    assert (await desk.post("/letters/discard", **these))["done"] == 1
    assert await desk.letters(queue=queue) == []


async def test_both_are_in_the_audit_log_with_whoever_did_it(
    desk: Desk, box: Letterbox, ada: Account
) -> None:
    first_id, first = box.place(ada)
    second_id, second = box.place(ada)
    await box.refused(first, second)
    by_id = {line["id"]: line["digest"] for line in await desk.letters()}

    await desk.post("/letters/release", queue=ORDERS_COMMANDS.name, letters=[by_id[first_id]])
    await desk.post("/letters/discard", queue=ORDERS_COMMANDS.name, letters=[by_id[second_id]])

    log = await desk.get("/audit", about=sub_of(ada))
    done = {entry["what"]: entry for entry in log["entries"]}
    assert first_id in done["release"]["why"]
    assert second_id in done["discard"]["why"]
    assert time.time() - done["release"]["at"] < PATIENCE
