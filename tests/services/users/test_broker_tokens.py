"""The user service's token endpoint: tokens for the broker, to listed clients that prove it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from auth.assertion import sign_assertion
from auth.brokertoken import BrokerClaims
from auth.jws import CLIENT_ASSERTION, parse_claims, sign_token
from auth.keys import SigningKey
from auth.strict import parse_token
from messaging.errors import BrokerTokenError
from services.contracts.rights import RIGHTS, Pattern
from services.contracts.topology import (
    GATEWAY,
    OPERATOR_DESK,
    ORDER_SERVICE,
    ORDERS_COMMANDS,
    USER_SERVICE,
)
from services.errors import StartError
from services.http import HttpServer, health_app
from services.local.ports import LOOPBACK
from services.users.broker_tokens import BrokerTokens, _fitting
from services.users.token_endpoint import MAX_BODY, token_route
from tests.services.users.realm import REPORTS, Users, everywhere

RESOURCE = "carnet-broker"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def tokens_of(users: Users, **changed: Any) -> BrokerTokens:
    parts = {"resource": RESOURCE, "vhost": "/", "clock": users.clock, **changed}
    handlers = users.handlers
    return BrokerTokens(
        trust=handlers.trust,
        keys=handlers.keys,
        acts=handlers.acts,
        assertions=handlers.assertions,
        **parts,
    )


@pytest_asyncio.fixture
async def http(users: Users) -> AsyncIterator[httpx.AsyncClient]:
    app = health_app({}, routes=[token_route(tokens_of(users))])
    server = HttpServer(app, host=LOOPBACK, port=0, drain=1)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{server.port}") as client:
        yield client
    await server.stop()


def assertion(users: Users, client: str = ORDER_SERVICE, **changed: Any) -> str:
    given = {"audience": RESOURCE, "now": users.clock(), **changed}
    return sign_assertion(client, users.realm.seals[client], **given)


def form(users: Users, **changed: str | None) -> dict[str, str]:
    fields = {
        "grant_type": "client_credentials",
        "client_assertion_type": TYPE,
        "client_assertion": assertion(users),
        **changed,
    }
    return {name: value for name, value in fields.items() if value is not None}


@everywhere
async def test_a_listed_client_gets_a_token_with_its_rights_at_the_broker(
    users: Users, http: httpx.AsyncClient
) -> None:
    answer = await http.post("/oauth/token", data=form(users))

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert 890 <= body["expires_in"] <= 900
    claims = parse_claims(parse_token(body["access_token"]), BrokerClaims)
    assert (claims.sub, claims.aud) == ("service:order-service", RESOURCE)
    assert claims.scope == body["scope"]
    assert f"{RESOURCE}.read:%2F/orders.commands" in claims.scope.split(" ")
    assert "user-service" not in claims.scope


async def test_the_client_may_be_named_beside_its_assertion(
    users: Users, http: httpx.AsyncClient
) -> None:
    named = await http.post("/oauth/token", data=form(users, client_id=ORDER_SERVICE))
    other = await http.post("/oauth/token", data=form(users, client_id=GATEWAY))

    assert named.status_code == 200
    assert (other.status_code, other.json()["error"]) == (401, "invalid_client")


async def test_what_is_given_and_what_is_refused_is_written_down(
    users: Users, http: httpx.AsyncClient
) -> None:
    used = form(users)
    await http.post("/oauth/token", data=used)
    await http.post("/oauth/token", data=used)
    await tokens_of(users).own()

    written = [(entry["outcome"], entry["who"], entry["why"]) for entry in await users.log()]

    assert written[-3:] == [
        ("done", "service:order-service", "for carnet-broker"),
        ("refused", "service:order-service", "invalid_client: used_before"),
        ("done", "service:user-service", "for carnet-broker"),
    ]


async def test_who_proves_nothing_cannot_fill_the_database(
    users: Users, http: httpx.AsyncClient
) -> None:
    before = await users.log()

    await http.post("/oauth/token", data=form(users, client_assertion="a.b.c"))

    assert await users.log() == before


async def test_the_user_service_signs_its_own(users: Users) -> None:
    own = await tokens_of(users).own()

    claims = parse_claims(parse_token(own.text), BrokerClaims)
    assert claims.sub == f"service:{USER_SERVICE}"
    assert 898 < own.life <= 900
    assert own.text not in repr(own)


async def test_without_a_key_that_may_sign_there_is_a_token_later(
    users: Users, http: httpx.AsyncClient
) -> None:
    (users.handlers.keys.folder.folder / f"{users.realm.issuer_key.kid}.pem").unlink()
    users.handlers.keys.folder._keys.clear()

    answer = await http.post("/oauth/token", data=form(users))

    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["retry-after"] == "1"
    with pytest.raises(BrokerTokenError):
        await tokens_of(users).own()


@everywhere
async def test_an_assertion_is_used_once(users: Users, http: httpx.AsyncClient) -> None:
    used = form(users)
    await http.post("/oauth/token", data=used)

    again = await http.post("/oauth/token", data=used)

    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("audience", ["user-service", "https://gateway.example", "carnet-broker/"])
async def test_an_assertion_for_somebody_else_gets_nobody_onto_the_broker(
    users: Users, http: httpx.AsyncClient, audience: str
) -> None:
    """Least of all one that the gateway was given, to spend it for the client."""
    other = assertion(users, audience=audience)

    answer = await http.post("/oauth/token", data=form(users, client_assertion=other))

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("typ", "stranger", "claims"),
    [
        ("at+jwt", False, {}),
        (CLIENT_ASSERTION, True, {}),
        (CLIENT_ASSERTION, False, {"exp": -60}),
        (CLIENT_ASSERTION, False, {"exp": 3600}),
        (CLIENT_ASSERTION, False, {"sub": GATEWAY}),
        (CLIENT_ASSERTION, False, {"iss": GATEWAY, "sub": GATEWAY}),
        (CLIENT_ASSERTION, False, {"iss": "nobody", "sub": "nobody"}),
        (CLIENT_ASSERTION, False, {"aud": [RESOURCE]}),
    ],
    ids=str,
)
async def test_who_proves_nothing_gets_nothing(
    users: Users, http: httpx.AsyncClient, typ: str, *, stranger: bool, claims: dict[str, Any]
) -> None:
    now = int(users.clock())
    said = {
        "iss": ORDER_SERVICE,
        "sub": ORDER_SERVICE,
        "aud": RESOURCE,
        "jti": "0f8fad5bd9cb469fa165",
        **claims,
        "exp": now + claims.get("exp", 60),
    }
    key = SigningKey.generate() if stranger else users.realm.seals[ORDER_SERVICE]
    forged = sign_token(said, typ=typ, key=key)

    answer = await http.post("/oauth/token", data=form(users, client_assertion=forged))

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert forged not in answer.text


async def test_a_client_without_rights_at_the_broker_gets_none(
    users: Users, http: httpx.AsyncClient
) -> None:
    answer = await http.post(
        "/oauth/token", data=form(users, client_assertion=assertion(users, REPORTS))
    )

    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion": None}, "invalid_client"),
        ({"client_assertion_type": None}, "invalid_client"),
        ({"client_assertion_type": "jwt"}, "invalid_client"),
        ({"client_assertion": "x" * MAX_BODY}, "invalid_request"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_another_request_is_told_what_is_wrong(
    users: Users, http: httpx.AsyncClient, changed: dict[str, str | None], error: str
) -> None:
    answer = await http.post("/oauth/token", data=form(users, **changed))

    assert answer.is_client_error
    assert answer.json()["error"] == error
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"grant_type": "client_credentials"}'),
        ("application/x-www-form-urlencoded", b"grant_type"),
        ("application/x-www-form-urlencoded", b"grant_type=client_credentials&grant_type=password"),
        ("application/x-www-form-urlencoded", "grant_type=ä".encode("latin-1")),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % i for i in range(17))),
        ("application/x-www-form-urlencoded", b""),
    ],
)
async def test_what_is_no_form_is_told(
    http: httpx.AsyncClient, content_type: str, body: bytes
) -> None:
    answer = await http.post("/oauth/token", content=body, headers={"Content-Type": content_type})

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_only_posting_is_answered(http: httpx.AsyncClient) -> None:
    assert (await http.get("/oauth/token")).status_code == 405


@pytest.mark.parametrize("resource", ["user-service", GATEWAY, REPORTS])
async def test_the_broker_has_no_name_that_a_service_has(users: Users, resource: str) -> None:
    """Its plugin tells our tokens apart by `aud` alone."""
    with pytest.raises(StartError, match="CARNET_BROKER_RESOURCE"):
        tokens_of(users, resource=resource)


@pytest.mark.parametrize(
    "names", [{"vhost": "/" * 50}, {"vhost": "a" * 255}, {"resource": "b" * 255}]
)
async def test_names_that_make_a_token_too_long_for_the_broker_keep_it_from_starting(
    users: Users, names: dict[str, str]
) -> None:
    with pytest.raises(StartError) as refusal:
        tokens_of(users, **names)

    assert "CARNET_AMQP_URL" in str(refusal.value)
    assert "2048" in str(refusal.value)
    assert "\n" not in str(refusal.value)


async def test_with_the_longest_names_that_fit_every_client_gets_its_token(users: Users) -> None:
    longest = 0
    for length in range(1, 256):
        try:
            tokens = tokens_of(users, vhost="a" * length)
        except StartError:
            break
        longest = length

    tokens = tokens_of(users, vhost="a" * longest)

    assert longest >= 32
    await tokens.own()
    for client in (GATEWAY, ORDER_SERVICE, OPERATOR_DESK):
        granted = await tokens.give(assertion(users, client), origin=None)
        assert len(granted.token) < 4096 - 256  # what else RabbitMQ 3.10 reads of a login


@pytest.mark.parametrize("others", [0, 100], ids=["room", "no room"])
def test_who_may_count_queues_goes_without_where_a_token_has_no_room(others: int) -> None:
    """As with many services of one's own: to show their queues keeps nobody from starting."""
    desk = RIGHTS[OPERATOR_DESK]
    counts = desk.counts + Pattern(tuple(f"service-{number}.commands" for number in range(others)))

    scopes = _fitting(OPERATOR_DESK, replace(desk, counts=counts), resource="rabbit", vhost="/")

    assert (f"rabbit.write:%2F/{ORDERS_COMMANDS.name}" in scopes) is (others == 0)
    assert f"rabbit.read:%2F/{ORDERS_COMMANDS.dead}" in scopes
