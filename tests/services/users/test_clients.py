"""Public clients: what one may be, and where it may have its answers."""

import pytest
from sqlalchemy import select

from messaging.rpc import Refused
from services.contracts.authorization import (
    AllowDevice,
    DescribeDevice,
    RedeemDevice,
    StartDevice,
)
from services.users.clients import COMMAND_LINE, DEFAULT_SCOPES
from services.users.redirects import chosen, fault_of
from services.users.store import DeviceCode, PublicClient
from tests.services.users.realm import PASSWORD, Users, everywhere

CALLBACK = "https://notes.example/callback"


async def add(users: Users, name: str = "notes", **changed: object) -> str:
    about: dict[str, object] = {
        "title": "Notes",
        "redirect_uris": [CALLBACK],
        "scopes": ["orders:read"],
        "devices": False,
        **changed,
    }
    return await users.parts.clients.add(users.operator, name, **about)  # type: ignore[arg-type]


async def refusal_of(users: Users, name: str = "notes", **changed: object) -> Refused:
    with pytest.raises(Refused) as refusal:
        await add(users, name, **changed)
    assert "\n" not in refusal.value.detail
    return refusal.value


@everywhere
async def test_a_client_is_added_listed_and_removed(users: Users) -> None:
    assert await add(users) == "app:notes"
    listed = await users.parts.clients.list()
    assert [client.client_id for client in listed] == [COMMAND_LINE, "app:notes"]
    assert listed[1].redirect_uris == [CALLBACK]

    assert await users.parts.clients.remove(users.operator, "app:notes") == 0

    async with users.database.session() as work:
        assert (await work.scalars(select(PublicClient))).all() == []
    log = [(entry["what"], entry["whom"]) for entry in await users.log()]
    assert log[-2:] == [("add_client", "app:notes"), ("remove_client", "app:notes")]


@everywhere
async def test_a_clients_removal_is_the_end_of_its_devices(users: Users) -> None:
    tv = await add(users, "tv", redirect_uris=[], devices=True)
    started = await users.handlers.start_device(StartDevice(client_id=tv), users.gateway)
    allow = AllowDevice(user_code=started.user_code, name="ada", password=PASSWORD)
    await users.handlers.allow_device(allow, users.gateway)

    assert await users.parts.clients.remove(users.operator, tv) == 1

    async with users.database.session() as work:
        assert (await work.scalars(select(DeviceCode))).all() == []
    with pytest.raises(Refused):
        await users.handlers.describe_device(
            DescribeDevice(user_code=started.user_code), users.gateway
        )


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "N"},
        {"name": "x"},
        {"name": "x" * 60},
        {"name": "a.b"},
        {"name": "notes\0"},
        {"name": "carnet-cli"},
        {"title": ""},
        {"title": "two\nlines"},
        {"title": "x" * 101},
        {"redirect_uris": []},
        {"redirect_uris": [f"https://notes.example/{n}" for n in range(21)]},
        {"redirect_uris": [CALLBACK, "http://notes.example/"]},
        {"scopes": []},
        {"scopes": ["orders:read", "everything"]},
    ],
    ids=str,
)
async def test_a_client_that_cannot_be_is_not_added(
    users: Users, changed: dict[str, object]
) -> None:
    name = str(changed.pop("name", "notes"))

    assert (await refusal_of(users, name, **changed)).code == "invalid_client_metadata"


async def test_a_client_is_added_once_and_what_is_built_in_stays(users: Users) -> None:
    await add(users)

    assert "already" in (await refusal_of(users)).detail
    for client_id in (COMMAND_LINE, "app:nobody", "api-gateway"):
        with pytest.raises(Refused) as refusal:
            await users.parts.clients.remove(users.operator, client_id)
        assert refusal.value.code == "invalid_client_metadata"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://notes.example/callback",
        "https://notes.example",
        "https://notes.example:8443/a/b.c?x=y",
        "https://[2001:db8::1]/callback",
        "http://127.0.0.1/callback",
        "http://[::1]:8000/callback",
        "http://localhost:5173/callback",
        "com.example.notes:/callback",
    ],
)
def test_a_redirect_uri_may_be(redirect_uri: str) -> None:
    assert fault_of(redirect_uri) is None


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "",
        "notes.example/callback",
        "//notes.example/callback",
        "/callback",
        "http://notes.example/callback",
        "http://127.0.0.2/callback",
        "http://127.0.0.1.evil.example/callback",
        "https://user@notes.example/callback",
        "https://user:secret@notes.example/callback",
        "https://notes.example/callback#fragment",
        "https://notes.example/callback#",
        "https://*.notes.example/callback",
        "https://notes.example/a/../callback",
        "https://notes.example/./callback",
        "https://notes.example/..",
        "https://notes.example/%2E%2e/callback",
        "https://notes.example/.%2e?x",
        "https://notes.example\\callback",
        "https://notes.example/call back",
        "https://notes.example/callback\n",
        "https://notes.example/c;d",
        "https://nötes.example/callback",
        "https:///callback",
        "https:notes.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "notes:/callback",
        "com.example.notes://callback",
        "file:///etc/passwd",
        f"https://notes.example/{'x' * 500}",
    ],
)
def test_a_redirect_uri_may_not_be(redirect_uri: str) -> None:
    assert fault_of(redirect_uri) is not None


def test_a_request_names_no_address_only_where_there_is_one() -> None:
    assert chosen(None, [CALLBACK]) == CALLBACK
    assert chosen(None, []) is None
    assert chosen(None, [CALLBACK, "https://notes.example/other"]) is None
    assert chosen("", [CALLBACK]) is None


@pytest.mark.parametrize("registered", ["http://127.0.0.1/cb", "http://127.0.0.1:8000/cb"])
@pytest.mark.parametrize("asked", ["http://127.0.0.1/cb", "http://127.0.0.1:65535/cb"])
def test_the_port_of_ones_own_machine_is_any(registered: str, asked: str) -> None:
    assert chosen(asked, [registered]) == asked


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb/../x"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb\n"),
        ("http://127.0.0.1/cb", "http://[::1]:1/cb"),
        ("http://127.0.0.1/cb", "https://127.0.0.1:1/cb"),
        ("http://localhost:8000/cb", "http://localhost:8001/cb"),
        ("https://notes.example/cb", "https://notes.example:444/cb"),
        ("com.example.notes:/cb", "com.example.notes:/cb/"),
    ],
)
def test_nothing_else_of_an_address_is(registered: str, asked: str) -> None:
    assert chosen(asked, [registered]) is None


async def test_nobody_gets_an_operators_scopes_by_the_command_lines_name(users: Users) -> None:
    """All know it, so that whoever begins a device may lead an operator to allow it."""
    await users.parts.accounts.change_roles(users.operator, "ada", ["operator"])
    ask = StartDevice(client_id=COMMAND_LINE)
    started = await users.handlers.start_device(ask, users.gateway)
    allow = AllowDevice(user_code=started.user_code, name="ada", password=PASSWORD)
    await users.handlers.allow_device(allow, users.gateway)

    got = RedeemDevice(client_id=COMMAND_LINE, device_code=started.device_code)
    tokens = await users.handlers.redeem_device(got, users.gateway)

    assert set(tokens.scope.split()) == set(DEFAULT_SCOPES)
    wider = StartDevice(client_id=COMMAND_LINE, scope="orders:read-all")
    with pytest.raises(Refused) as refusal:
        await users.handlers.start_device(wider, users.gateway)
    assert refusal.value.code == "invalid_scope"
