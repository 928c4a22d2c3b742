"""Rights as the OAuth 2 plugin reads them; tests/services/test_broker_login.py asks the broker."""

import re
from urllib.parse import unquote

import pytest

from messaging.topology import COMMANDS, EVENTS, RPC, Exchange
from services.contracts.rights import Pattern, Rights
from services.users.broker_scopes import broker_scopes


def scopes(rights: Rights, *, client: str = "shop", vhost: str = "/") -> set[str]:
    return set(broker_scopes(client, rights, resource="rabbit", vhost=vhost))


def test_a_client_has_its_own_queues() -> None:
    assert scopes(Rights()) == {
        "rabbit.configure:%2F/carnet.shop.*",
        "rabbit.write:%2F/carnet.shop.*",
        "rabbit.read:%2F/carnet.shop.*",
    }


def test_a_topic_exchange_is_opened_key_by_key() -> None:
    """The plugin refuses every routing key to a scope that names none."""
    keys = Pattern(("orders.place",), ("orders.other.",))

    given = scopes(Rights(publishes={COMMANDS: keys}, subscribes={EVENTS: Pattern()})) - scopes(
        Rights()
    )

    assert given == {
        "rabbit.write:%2F/carnet.commands/orders.place",
        "rabbit.write:%2F/carnet.commands/orders.other.*",
    }


def test_another_exchange_is_opened_as_a_whole() -> None:
    rights = Rights(consumes=("users.rpc",), publishes={RPC: Pattern()})

    assert scopes(rights) - scopes(Rights()) == {
        "rabbit.write:%2F/carnet.rpc",
        "rabbit.read:%2F/users.rpc",
    }


@pytest.mark.parametrize("name", ["a*b", "a/b", "a%2Fb", "a b", "a+b", "ä"])
def test_no_name_is_read_as_a_pattern_or_as_two_parts(name: str) -> None:
    topic = Exchange("carnet.topic", "topic")
    rights = Rights(consumes=(name,), publishes={topic: Pattern((name,))})

    for scope in scopes(rights, vhost=name):
        assert re.fullmatch(r"[\x21\x23-\x5B\x5D-\x7E]+", scope)
        place, *parts = scope.partition(":")[2].split("/")
        assert unquote(place) == name
        assert "*" not in place
        assert "+" not in scope
        assert all(part == "carnet.shop.*" or "*" not in part for part in parts)
