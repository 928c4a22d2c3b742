"""The playground: real forgeries of one's own message, each stopped by the real order service."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.authority import Authority
from services.contracts.playground import NOBODY
from services.contracts.scopes import ORDERS_READ
from services.contracts.topology import GATEWAY
from services.gateway.playground import OF_ALL_PER_MINUTE, PER_MINUTE, Rate
from services.local.trust import make_local_trust
from services.web.problems import ProblemError
from tests.brokers import Brokers
from tests.services.gateway.stack import TEA, Stack, User, open_stack
from tests.services.gateway.test_openapi import with_scopes

FORGERIES = "/v1/playground/forgeries"


@pytest_asyncio.fixture(scope="module")
async def playground(
    brokers: Brokers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    broker = await brokers.any()
    folder = tmp_path_factory.mktemp("playground")
    async with (
        broker.stack_vhost() as vhost,
        open_stack(
            folder, vhost.url, user_settings={"registrations_per_origin": 0}, playground=True
        ) as running,
    ):
        yield running


@pytest_asyncio.fixture
async def mallory(playground: Stack) -> AsyncIterator[User]:
    async with playground.user() as user:
        yield user


async def forge(user: User, forgery: str, **more: Any) -> httpx.Response:
    return await user.http.post(FORGERIES, json={"forgery": forgery, "order": TEA, **more})


def stopped_at(answer: httpx.Response) -> tuple[str, str, str]:
    """Who stopped it, with which code, at which check."""
    assert answer.status_code == 200, answer.text
    tried = answer.json()
    refusing = [c["check"] for c in tried["journey"]["checks"] if c["verdict"] == "refused"]
    return tried["stopped_by"], tried["code"], "".join(refusing)


async def test_there_is_no_playground_unless_it_is_asked_for(ada: User) -> None:
    answer = await forge(ada, "body")

    assert answer.status_code == 404
    assert FORGERIES not in (await ada.http.get("/openapi.json")).json()["paths"]
    assert (await ada.http.get("/page/settings")).json() == {"playground": False, "traces": None}


async def test_each_forgery_is_stopped_where_it_must_be(playground: Stack, mallory: User) -> None:
    """In one stack, since each needs nothing of the other."""
    expected = {
        "body": ("seal_mismatch", "seal"),
        "moved": ("seal_mismatch", "seal"),
        "expired": ("too_old", "time"),
        "key": ("unknown_key", "key"),
    }

    for forgery, (code, check) in expected.items():
        answer = await forge(mallory, forgery)
        assert stopped_at(answer) == ("order-service", code, check)
        assert "eyJ" not in answer.text

    assert await playground.stored_orders(mallory.sub) == 0


async def test_a_carnet_for_another_service_is_not_even_given(mallory: User) -> None:
    """Where the statement does not name that audience, as it does in the local stack alone."""
    tried = (await forge(mallory, "audience")).json()

    assert (tried["stopped_by"], tried["code"]) == ("user-service", "invalid_target")
    assert tried["sent"] is None


def test_only_a_local_stack_with_a_playground_may_ask_for_carnets_that_nobody_takes(
    tmp_path: Path,
) -> None:
    for playground in (False, True, False):
        make_local_trust(tmp_path, playground=playground)

        exchanges = Authority(tmp_path).latest().clients[GATEWAY].exchanges
        assert (NOBODY in exchanges) == playground


async def test_who_revokes_oneself_is_refused_although_all_was_sealed_before(
    playground: Stack, mallory: User
) -> None:
    answer = await forge(mallory, "revoked")

    assert stopped_at(answer) == ("order-service", "revoked", "revocation")
    assert (await mallory.http.get("/v1/orders")).status_code == 401
    assert await playground.stored_orders(mallory.sub) == 0


async def test_a_message_that_nobody_touched_is_taken(playground: Stack, mallory: User) -> None:
    tried = (await forge(mallory, "none")).json()

    assert (tried["stopped_by"], tried["journey"]["outcome"]) == (None, "done")
    assert await playground.stored_orders(mallory.sub) == 1


async def test_the_body_is_sent_as_the_user_has_changed_it(mallory: User) -> None:
    answer = await forge(mallory, "body", body="no JSON, and é")

    assert answer.json()["sent"]["body"] == "no JSON, and é"
    assert stopped_at(answer) == ("order-service", "seal_mismatch", "seal")


async def test_what_the_user_did_not_change_is_no_forgery(mallory: User) -> None:
    sealed = (await forge(mallory, "none")).json()["sent"]["body"]

    tried = (await forge(mallory, "body", body=sealed)).json()

    assert (tried["stopped_by"], tried["journey"]["outcome"]) == (None, "done")


@pytest.mark.parametrize(
    "more",
    [
        {"carnet": "eyJ"},
        {"seal": "eyJ"},
        {"routing_key": "orders.cancel"},
        {"subject": "somebody"},
        {"body": "x" * 4097},
    ],
)
async def test_nothing_but_ones_own_order_can_be_tampered_with(
    mallory: User, more: dict[str, str]
) -> None:
    """Neither a token of somebody else's nor another address can be named."""
    assert (await forge(mallory, "body", **more)).status_code == 422


async def test_who_may_not_order_may_not_forge_an_order(playground: Stack, mallory: User) -> None:
    mallory.http.headers.update(with_scopes(playground, mallory, frozenset({ORDERS_READ})))

    assert (await forge(mallory, "body")).status_code == 403


async def test_nobody_forges_without_end(playground: Stack, mallory: User) -> None:
    answers = [await forge(mallory, "key") for _ in range(PER_MINUTE + 1)]

    assert [answer.status_code for answer in answers] == [200] * PER_MINUTE + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    async with playground.user() as other:
        assert (await forge(other, "key")).status_code == 200


def test_all_together_forge_within_bounds_and_again_after_a_minute() -> None:
    now = 1000.0
    rate = Rate(lambda: now)
    for number in range(OF_ALL_PER_MINUTE):
        rate.take(f"user-{number}")
    with pytest.raises(ProblemError, match="enough forgery"):
        rate.take("another")

    now += 60

    rate.take("another")


async def test_it_is_described_where_it_is(playground: Stack, mallory: User) -> None:
    del playground
    document = (await mallory.http.get("/openapi.json")).json()

    assert document["paths"][FORGERIES]["post"]["operationId"] == "forge"
    assert (await mallory.http.get("/page/settings")).json() == {"playground": True, "traces": None}
    assert json.dumps(document)
