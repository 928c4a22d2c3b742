"""Where everything stands: parties, queues, rates, keys, accounts, the audit log, as they are."""

import asyncio
import time
from typing import Any

import pytest

from auth.explain import decode_unverified
from services.contracts.topology import GATEWAY, OPERATOR_DESK, ORDERS_COMMANDS
from services.demo.client import Account, ShopClient
from services.local.stack import LocalStack
from tests.e2e.letterbox import Letterbox
from tests.services.console.conftest import make_operator
from tests.services.console.desk import PASSWORD, Desk, claim, signed_in, sub_of, until

pytestmark = pytest.mark.timeout(300)

BASKET: list[dict[str, Any]] = [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]
SERIES = {
    *("messages.accepted", "messages.refused", "messages.retried", "http.requests", "published"),
    *(f"{name}.{q}" for name in ("http", "verify", "wait", "handle") for q in ("p50", "p99")),
    *("trust.silence", "loop.lag", "dead.letters", "work.ready"),
}


async def _parties(desk: Desk) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in (await desk.get("/standing"))["parties"]}


async def test_each_party_says_where_it_stands(desk: Desk) -> None:
    told = await desk.get("/standing")

    assert told["feed"]["fresh"] is True
    assert 0 <= told["feed"]["silence"] < 10
    assert told["key_set"]["expires_at"] > time.time() > told["key_set"]["issued_at"] - 1

    async def seen() -> bool:
        parties = await _parties(desk)
        return all(parties[name]["ready"] for name in ("users", "orders", "gateway", "console"))

    await until(seen)
    parties = await _parties(desk)
    for name in ("orders", "gateway", "console"):
        party = parties[name]
        assert (party["up"], party["fresh"], party["error"]) == (True, True, None)
        assert party["key_set_version"] == told["key_set"]["version"]
        assert party["key_set_expires_at"] == told["key_set"]["expires_at"]
        assert all(party["checks"].values())
        assert party["release"]
    # The one that is declared and does not run.
    assert (parties["billing"]["up"], parties["billing"]["error"]) == (
        False,
        "nobody answers there",
    )


async def test_a_service_that_is_away_is_a_row_and_its_return_no_outburst(
    watched: LocalStack, desk: Desk, shop: ShopClient, ada: Account
) -> None:
    for _ in range(5):
        await shop.place(ada, BASKET)
    began = time.time()
    await watched.stop_service("orders")
    try:

        async def away() -> bool:
            return not (await _parties(desk))["orders"]["up"]

        await until(away)
        assert (await _parties(desk))["orders"]["error"] == "nobody answers there"
        assert (await desk.get("/rates"))["points"]
    finally:
        await watched.start_service("orders")

    async def back() -> bool:
        return bool((await _parties(desk))["orders"]["ready"])

    await until(back)

    async def counted() -> bool:
        return (await _last(desk))["messages.accepted"] is not None

    await until(counted)
    points = (await desk.get("/rates", after=began))["points"]
    rates = [point["series"]["messages.accepted"] for point in points]
    assert all(0 <= rate <= 5 for rate in rates if rate is not None)


async def _last(desk: Desk) -> dict[str, float | None]:
    points = (await desk.get("/rates"))["points"]
    series: dict[str, float | None] = points[-1]["series"] if points else dict.fromkeys(SERIES)
    return series


async def test_what_happens_is_seen_as_points(desk: Desk, shop: ShopClient, ada: Account) -> None:
    began = (await desk.get("/rates"))["points"][-1]["at"]
    await asyncio.gather(*(shop.place(ada, BASKET) for _ in range(10)))

    async def seen() -> bool:
        points = (await desk.get("/rates", after=began))["points"]
        accepted = [point["series"]["messages.accepted"] or 0 for point in points]
        return sum(accepted) > 0

    await until(seen)
    told = await desk.get("/rates", after=began)
    assert told["every"] == 2
    assert all(point["at"] > began for point in told["points"])
    assert all(point["series"].keys() == SERIES for point in told["points"])
    busy = next(p["series"] for p in told["points"] if p["series"]["messages.accepted"])
    assert busy["verify.p50"] > 0
    assert busy["handle.p99"] >= busy["handle.p50"] > 0
    assert busy["work.ready"] is not None
    assert (await desk.get("/rates", after="inf", expect=422))["code"] == "invalid_request"


async def test_each_queue_of_the_system_is_counted(
    desk: Desk, box: Letterbox, ada: Account
) -> None:
    await box.lay(box.place(ada)[1])

    queues = {each["name"]: each for each in (await desk.get("/queues"))["queues"]}

    assert queues["orders.commands"] == {
        "name": "orders.commands",
        "kind": "work",
        "messages": 0,
        "consumers": 1,
    }
    assert queues[ORDERS_COMMANDS.dead]["messages"] == 1
    assert queues[ORDERS_COMMANDS.dead]["kind"] == "dead"
    assert queues["users.rpc"]["kind"] == "rpc"
    assert queues["billing.commands.retry.10m"] == {
        "name": "billing.commands.retry.10m",
        "kind": "retry",
        "messages": 0,
        "consumers": 0,
    }
    assert len(queues) == 2 * 7 + 2


# ---- what the user service keeps


async def test_an_account_is_found_and_its_sessions_ended(
    desk: Desk, shop: ShopClient, ada: Account
) -> None:
    other = await shop.sign_in(ada.name, ada.password)

    (account,) = (await desk.get("/accounts", search=ada.name))["accounts"]
    assert (account["sub"], account["roles"], account["sessions"]) == (
        sub_of(ada),
        ["customer"],
        2,
    )
    sessions = (await desk.get(f"/accounts/{account['sub']}/sessions"))["sessions"]
    assert {each["client_id"] for each in sessions} == {GATEWAY}

    sid = claim(ada.access_token, "sid")
    assert await desk.delete(f"/sessions/{sid}") == {"sid": sid}

    async def ended() -> set[bool]:
        found = (await desk.get(f"/accounts/{account['sub']}/sessions"))["sessions"]
        return {each["live"] for each in found if each["sid"] == sid}

    assert await ended() == {False}
    assert await desk.delete(f"/accounts/{ada.name}/sessions") == {"name": ada.name}
    sessions = (await desk.get(f"/accounts/{account['sub']}/sessions"))["sessions"]
    assert [each["live"] for each in sessions] == [False, False]
    assert claim(other.access_token, "sid") in {each["sid"] for each in sessions}


async def test_what_there_is_not_is_said_by_its_code(desk: Desk) -> None:
    nobody = "11111111-1111-4111-8111-111111111111"

    told = [
        await desk.get(f"/accounts/{nobody}/sessions", expect=404),
        await desk.delete(f"/sessions/{nobody}", expect=404),
        await desk.delete("/accounts/nobody-at-all/sessions", expect=404),
        await desk.post("/keys/nothing/retire", expect=404),
    ]

    assert [each["code"] for each in told] == [
        "unknown_account",
        "unknown_session",
        "unknown_account",
        "unknown_key",
    ]


async def test_the_key_that_signs_is_changed(watched: LocalStack, desk: Desk) -> None:
    keys = (await desk.get("/keys"))["keys"]
    (present,) = [key["kid"] for key in keys if key["signing"]]
    operator = await make_operator(watched)

    async def rotated() -> bool:
        """The next key may sign once everybody has heard of it: half a minute after its listing."""
        headers = {"Authorization": f"Bearer {desk.tokens['access_token']}"}
        answer = await desk.http.post("/keys/rotate", headers=headers)
        assert answer.status_code in {200, 409}, answer.text
        return answer.status_code == 200

    await until(rotated)

    after = {key["kid"]: key for key in (await desk.get("/keys"))["keys"]}
    assert not after[present]["signing"]
    signed = await signed_in(desk.http, operator)
    head = decode_unverified(signed.tokens["access_token"]).unverified_header
    assert after[head["kid"]]["signing"]
    assert (await desk.post("/keys/rotate", expect=409))["code"] == "no_next_key"


async def test_the_audit_log_is_read_by_what_is_sought(http: Any, desk: Desk) -> None:
    await http.post("/session", json={"name": desk.name, "password": "another"})

    sub = claim(desk.tokens["access_token"], "sub")
    (refused,) = (await desk.get("/audit", outcome="refused", about=sub))["entries"]
    everything = (await desk.get("/audit", about=sub))["entries"]
    (signed_in,) = (await desk.get("/audit", what="sign_in", outcome="done", about=sub))["entries"]

    assert (refused["what"], refused["client"]) == ("sign_in", OPERATOR_DESK)
    assert [entry["id"] for entry in everything][:2] == [refused["id"], signed_in["id"]]
    before = await desk.get("/audit", about=sub, before=refused["id"])
    assert refused["id"] not in {entry["id"] for entry in before["entries"]}
    assert (await desk.get("/audit", outcome="perhaps", expect=422))["code"] == "invalid_request"


async def test_more_than_one_operator_looks_at_once(watched: LocalStack, http: Any) -> None:
    desks = [await signed_in(http, await make_operator(watched)) for _ in range(3)]

    answers = await asyncio.gather(
        *(desk.get(path) for desk in desks for path in ("/standing", "/queues", "/rates", "/keys"))
    )

    assert all(answers)
    assert PASSWORD not in str(answers)
