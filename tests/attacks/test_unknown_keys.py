"""Tokens of keys that nobody lists: a flood of them must not become a flood of questions."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest_asyncio

from auth.keys import SigningKey
from auth.tokens import Issuer, new_token_id
from messaging.topology import RPC
from services.contracts.topology import GATEWAY, USER_SERVICE
from tests.brokers import VhostBroker
from tests.messaging.raw import Raw, raw_channel
from tests.services.gateway.stack import PATIENCE, Stack, open_stack

STORM = 200


@dataclass(frozen=True)
class Overheard:
    """A stack, and a queue with a copy of every question to its issuer."""

    stack: Stack
    raw: Raw
    questions: str


@pytest_asyncio.fixture
async def overheard(stack_broker: VhostBroker, tmp_path: Path) -> AsyncIterator[Overheard]:
    url = stack_broker.broker.url(stack_broker.vhost)
    async with (
        open_stack(tmp_path, stack_broker.url, USER_SERVICE, GATEWAY) as stack,
        raw_channel(url) as raw,
    ):
        yield Overheard(stack, raw, await raw.listen(RPC.name, "users.rpc"))


def _of_a_new_key(issuer: str) -> str:
    return Issuer(issuer, SigningKey.generate()).access_token(
        subject="3f0e5c1a-8f7e-4a52-9d0b-7b1c9a6f2e11",
        audience=GATEWAY,
        client_id=GATEWAY,
        scopes=frozenset({"orders:read"}),
        session=new_token_id(),
        epoch=0,
        auth_time=int(time.time()),
        now=time.time(),
    )


async def test_a_storm_of_unknown_keys_asks_nobody(overheard: Overheard) -> None:
    """Under a fresh feed an unknown `kid` is a refusal at once: no look-up to provoke."""
    issuer = overheard.stack.key_set.issuer
    limits = httpx.Limits(max_connections=20)

    async with httpx.AsyncClient(
        base_url=overheard.stack.url, timeout=PATIENCE, limits=limits
    ) as http:
        answers = await asyncio.gather(
            *(
                http.get("/v1/orders", headers={"Authorization": f"Bearer {_of_a_new_key(issuer)}"})
                for _ in range(STORM)
            )
        )

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json()["code"] for answer in answers} == {"unknown_key"}
    assert await overheard.raw.count(overheard.questions) == 0
