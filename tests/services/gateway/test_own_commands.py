"""Commands to a service of one's own, which the gateway takes as its service.toml says."""

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from auth.jws import parse_claims
from auth.message import AUTHORIZATION, BEARER, CARNET_SEAL
from auth.seal import SealClaims, digest
from auth.strict import parse_token
from auth.tokens import CarnetClaims
from messaging.broker import Broker
from messaging.topology import declare
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.declared import read_declared
from tests.messaging.raw import WAIT, Raw, raw_channel
from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import Stack, User

EXAMPLE: Final = Path(__file__).parents[3] / "examples" / "billing" / "service.toml"
REFUND: Final = "/v1/commands/billing.refund.v1"
BODY: Final = {"order_id": "7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11"}


@dataclass
class Till:
    """The gateway of a system that knows the billing service, and billing's queue."""

    stack: Stack
    raw: Raw


@pytest_asyncio.fixture
async def till(bare_stack: OpenStack, amqp_url: str, tmp_path: Path) -> AsyncIterator[Till]:
    folder = tmp_path / "services"
    folder.mkdir()
    shutil.copy(EXAMPLE, folder / "billing.toml")
    broker = await Broker(amqp_url, name="till").start(WAIT)
    await declare(broker, read_declared(EXAMPLE).topology, deadline=WAIT)
    await broker.close(WAIT)
    settings = {"services": folder}
    stack = await bare_stack(USER_SERVICE, GATEWAY, user_settings=settings, **settings)
    async with raw_channel(amqp_url) as raw:
        yield Till(stack, raw)


async def give(user: User, body: Any = BODY, key: str = "the-same") -> tuple[int, dict[str, Any]]:
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    answer = await user.http.post(REFUND, content=json.dumps(body), headers=headers)
    return answer.status_code, answer.json()


async def test_a_command_reaches_its_service_with_a_carnet_for_it_alone(till: Till) -> None:
    async with till.stack.user() as ada:
        assert "billing:refund" in ada.claims.scopes

        status, said = await give(ada)
        repeated = await give(ada)

        assert (status, said["state"]) == (202, "accepted")
        assert repeated == (202, said)
        message = await till.raw.next("billing.commands")
        carnet = str(message.headers[AUTHORIZATION]).removeprefix(BEARER)
        claims = parse_claims(parse_token(carnet), CarnetClaims)
        seal = parse_claims(parse_token(str(message.headers[CARNET_SEAL])), SealClaims)
        assert (claims.sub, claims.aud, claims.actors) == (ada.sub, "billing", (GATEWAY,))
        assert claims.scopes == {"billing:refund", "orders:write"}
        assert (seal.aud, seal.ty, seal.jti) == ("billing", "billing.refund.v1", said["id"])
        assert seal.exp - seal.iat == 300
        assert seal.bh == digest(message.body)
        assert json.loads(message.body) == BODY


async def test_the_scopes_that_services_declare_are_named(till: Till) -> None:
    async with till.stack.user() as ada:
        metadata = await ada.http.get("/.well-known/oauth-authorization-server")

    assert {"billing:refund", "orders:read"} <= set(metadata.json()["scopes_supported"])


async def test_the_same_key_with_another_body_is_refused(till: Till) -> None:
    async with till.stack.user() as ada:
        await give(ada)
        status, said = await give(ada, {"order_id": "another"})

        assert (status, said["code"]) == (422, "idempotency_key_reused")
        assert "id" in said
        assert "order_id" not in said


def _nested(depth: int) -> Any:
    return {} if depth == 0 else {"deeper": _nested(depth - 1)}


async def test_what_is_no_command_is_not_passed_on(till: Till) -> None:
    async with till.stack.user() as ada:
        bodies: list[Any] = [[], "x", 7, None, _nested(400)]
        for body in bodies:
            status, said = await give(ada, body)
            assert (status, said["code"]) == (422, "invalid_request")

    assert await till.raw.count("billing.commands") == 0


@pytest.mark.parametrize(
    "body",
    [
        rb'{"\ud800": 1}',
        rb'{"order_id": "\udfff"}',
        b'{"amount": NaN}',
        b'{"amounts": [{"amount": Infinity}]}',
        b'{"amount": -Infinity}',
        b'{"amount": 1e999}',
    ],
)
async def test_what_json_has_not_is_not_passed_on(till: Till, body: bytes) -> None:
    """A body is passed on as it came: with null in the place of a number it would be another."""
    async with till.stack.user() as ada:
        headers = {"Content-Type": "application/json"}
        answer = await ada.http.post(REFUND, content=body, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert await till.raw.count("billing.commands") == 0


async def test_nobody_gives_a_command_without_its_scopes(till: Till) -> None:
    anonymous = await _post(till, None)
    async with till.stack.user() as ada:
        narrow = till.stack.issuer.access_token(
            subject=ada.sub,
            audience=GATEWAY,
            client_id=GATEWAY,
            scopes=frozenset({"orders:write"}),
            session=ada.claims.sid,
            epoch=ada.claims.epoch,
            auth_time=None,
            now=ada.claims.iat,
        )
        lacking = await _post(till, narrow)

    assert (anonymous, lacking) == (401, 403)


async def _post(till: Till, token: str | None) -> int:
    async with till.stack.user() as somebody:
        del somebody.http.headers["Authorization"]
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return (await somebody.http.post(REFUND, json=BODY, headers=headers)).status_code


async def test_no_other_command_is_taken(till: Till) -> None:
    async with till.stack.user() as ada:
        for command in ("billing.refunded.v1", "orders.place.v1", "billing.refund.v2", ""):
            answer = await ada.http.post(f"/v1/commands/{command}", json=BODY)
            assert answer.status_code == 404


async def test_the_document_describes_it(till: Till) -> None:
    async with till.stack.user() as ada:
        document = (await ada.http.get("/openapi.json")).json()

    operation = document["paths"][REFUND]["post"]
    assert operation["operationId"] == "billing.refund.v1"
    assert {"oauth2": ["billing:refund", "orders:write"]} in operation["security"]
