"""The committed documents are what the code says, and the code does what they say."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from auth.keys import SigningKey
from auth.seal import Sealer
from auth.statements import Herald, Revocation
from auth.strict import decode_base64url
from auth.tokens import Issuer
from services.contracts.clients import CLIENTS
from services.contracts.topology import PLACE_ORDER, TOPOLOGY
from services.interface.asyncapi import asyncapi
from services.interface.files import FOLDER, documents, released_documents, stale, write
from services.interface.messages import messages
from services.interface.schemas import SEALED, TOKENS, Schema, claims_schema
from tests.auth import forge

ROOT = Path(__file__).parents[3]
DOCUMENTS = documents()
KEY = SigningKey.generate()
USER = "5c5a9f3e-8f3c-4f0e-9a53-7f0c6f4f2d11"
PLACE = {"lines": [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}], "currency": "EUR"}


def schema(name: str) -> Schema:
    found: Schema = json.loads(DOCUMENTS[name])
    return found


def claims_of(name: str) -> OAS31Validator:
    return OAS31Validator(claims_schema(next(t for t in TOKENS if t.name == name)))


def payload(token: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(decode_base64url(token.split(".")[1]))
    return read


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_committed_documents_are_what_the_code_says() -> None:
    assert stale(ROOT / FOLDER, documents()) == [], "run: carnet contracts write"


def test_writing_makes_every_document_and_removes_what_nothing_has(tmp_path: Path) -> None:
    gone = tmp_path / "schemas" / "orders.gone.v1.json"
    gone.parent.mkdir()
    gone.write_text("{}")
    write(tmp_path, documents() | released_documents())

    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")}

    assert left == {*documents(), *released_documents()}
    assert write(tmp_path, documents()) == []


def test_every_type_that_a_client_may_seal_is_described_once() -> None:
    described = [message.type for message in messages()]

    assert len(described) == len(set(described))
    assert set(described) == {ty for grant in CLIENTS.values() for ty in grant.publishes}


def test_the_asyncapi_document_refers_to_nothing_that_is_not_there() -> None:
    document = asyncapi()
    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_the_asyncapi_document_says_what_the_order_service_demands() -> None:
    message = asyncapi()["components"]["messages"]["orders.place.v1"]

    assert message["x-carnet"] == {
        "kind": "cmd",
        "exchange": "carnet.commands",
        "routing_key": "orders.place",
        "publishers": ["api-gateway"],
        "receivers": ["order-service"],
        "carnet": True,
        "scopes": ["orders:write"],
        "carnet_judged": "at_acceptance",
        "max_age": 24 * 3600,
        "encrypted": False,
    }


def test_the_asyncapi_document_has_the_whole_topology() -> None:
    said = asyncapi()["x-carnet-topology"]

    assert said["exchanges"].keys() == {exchange.name for exchange in TOPOLOGY.exchanges}
    assert said["queues"].keys() == {queue.name for queue in TOPOLOGY.queues}
    assert len(said["bindings"]) == len(TOPOLOGY.bindings)


@pytest.mark.parametrize("name", [n for n in DOCUMENTS if n.startswith(("schemas", "claims"))])
def test_a_schema_is_one(name: str) -> None:
    OAS31Validator.check_schema(schema(name))


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (PLACE, True),
        (PLACE | {"currency": "euro"}, False),
        (PLACE | {"lines": []}, False),
        (PLACE | {"lines": [PLACE["lines"][0] | {"quantity": 0}]}, False),  # type: ignore[operator]
        (PLACE | {"note": "by hand"}, False),
        ({"lines": PLACE["lines"]}, False),
    ],
)
def test_a_body_fits_its_schema_if_the_service_takes_it(body: dict[str, Any], taken: bool) -> None:  # noqa: FBT001
    contract = next(each.contract for each in messages() if each.type == "orders.place.v1")
    try:
        contract.from_body(json.dumps(body).encode())
        does = True
    except Exception:  # noqa: BLE001 - whatever it says, it is not taken
        does = False

    assert does == taken
    assert OAS31Validator(schema("schemas/orders.place.v1.json")).is_valid(body) == taken


def sealed(kind: str) -> dict[str, Any]:
    sealer, now = Sealer("api-gateway", KEY), time.time()
    common: dict[str, Any] = {
        "route": PLACE_ORDER,
        "message_id": "message-000000000001",
        "body": b"{}",
        "now": now,
        "expires_at": now + 60,
    }
    addressed = common | {"audience": "order-service"}
    seals = {
        "cmd": lambda: sealer.command(**addressed, carnet="a.b.c"),
        "req": lambda: sealer.request(**addressed, carnet=None, reply_to="carnet.api-gateway.1"),
        "rep": lambda: sealer.reply(**addressed, request_id="message-000000000002"),
        "evt": lambda: sealer.event(**common, subject=USER, cause="message-000000000003"),
    }
    return payload(seals[kind]())


@pytest.mark.parametrize("kind", SEALED)
def test_a_seal_fits_the_schema_of_its_kind_alone(kind: str) -> None:
    validator, seal = claims_of("seal"), sealed(kind)

    assert validator.is_valid(seal)
    for claim in SEALED[kind][0]:
        assert not validator.is_valid({k: v for k, v in seal.items() if k != claim})
    for claim in SEALED[kind][1]:
        assert not validator.is_valid({**seal, claim: "message-000000000009"})


def test_a_users_carnet_names_its_session_and_a_services_need_not() -> None:
    issuer = Issuer("user-service", KEY)
    of_user = payload(forge.carnet().text)
    parent = forge.judge_access_token(forge.access_token())
    made = payload(
        issuer.carnet(
            parent,
            actor="api-gateway",
            audience="order-service",
            scopes=frozenset({"orders:write"}),
            now=parent.iat,
        )
    )
    validator = claims_of("carnet")

    assert validator.is_valid(of_user)
    assert validator.is_valid(made)
    without = {k: v for k, v in made.items() if k != "sid"}
    assert not validator.is_valid(without)
    assert validator.is_valid({**without, "sub": "service:reports"})


def test_a_key_set_statement_fits_its_schema_and_a_key_that_is_none_does_not() -> None:
    statement = payload(forge.parties().key_set().statement)
    validator = claims_of("key-set")

    assert validator.is_valid(statement)
    assert not validator.is_valid({**statement, "clients": {"No Client": {"keys": []}}})
    del statement["issuer"]["keys"][0]["kty"]
    assert not validator.is_valid(statement)


def test_what_the_issuer_tells_fits_its_schema_and_a_revocation_has_one_target() -> None:
    herald, now = Herald("user-service", "feed-0000000000000001"), time.time()
    ended = Revocation(seq=1, until=int(now) + 60, sid="session-00000000001")
    told = payload(herald.revocation(ended, key=KEY, now=now))
    beat = payload(herald.heartbeat(seq=1, version=1, key=KEY, now=now))
    page = payload(herald.snapshot([ended], after=0, upto=1, seq=1, version=1, key=KEY, now=now))

    assert claims_of("revocation").is_valid(told)
    assert not claims_of("revocation").is_valid({**told, "sub": USER, "epoch": 1})
    assert claims_of("heartbeat").is_valid(beat)
    assert claims_of("snapshot").is_valid(page)
    del page["entries"][0]["sid"]
    assert not claims_of("snapshot").is_valid(page)
