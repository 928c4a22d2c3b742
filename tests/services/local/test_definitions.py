"""What the definitions file grants, read as the broker would."""

import base64
import hashlib
import re

import pytest

from services.contracts.rights import NOTHING, RIGHTS, TOPIC_EXCHANGES, Pattern
from services.local.definitions import generate_logins, stack_definitions
from services.local.logins import password_hash


def test_a_password_hash_is_the_one_that_rabbitmq_computes() -> None:
    hashed = base64.b64decode(password_hash("a password"))

    salt, digest = hashed[:4], hashed[4:]
    assert digest == hashlib.sha256(salt + b"a password").digest()
    assert password_hash("a password") != password_hash("a password")


def test_no_password_stands_in_the_definitions() -> None:
    logins = generate_logins()

    text = str(stack_definitions(logins))

    assert not [login.name for login in logins.values() if login.password in text]


def test_every_service_is_bounded_on_every_topic_exchange() -> None:
    """A login without a topic permission for an exchange may use all of its routing keys."""
    definitions = stack_definitions(generate_logins())

    bounded = {(each["user"], each["exchange"]) for each in definitions["topic_permissions"]}

    assert bounded == {(client, exchange.name) for client in RIGHTS for exchange in TOPIC_EXCHANGES}


@pytest.mark.parametrize("client", RIGHTS)
@pytest.mark.parametrize("what", ["configure", "write", "read"])
def test_no_service_may_touch_the_default_exchange(client: str, what: str) -> None:
    definitions = stack_definitions(generate_logins())

    (permission,) = [each for each in definitions["permissions"] if each["user"] == client]

    assert not re.search(permission[what], "amq.default")
    assert not re.search(permission[what], "")


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        (Pattern(("orders.place",)), "orders.place", True),
        (Pattern(("orders.place",)), "orders.placed", False),
        (Pattern(("orders.place",)), "x.orders.place", False),
        (Pattern(("orders.place",)), "ordersXplace", False),
        (Pattern(beginning=("carnet.a.",)), "carnet.a.1", True),
        (Pattern(beginning=("carnet.a.",)), "carnet.ab.1", False),
        (Pattern(("a", "b")), "b", True),
        (Pattern(), "", False),
        (Pattern(), "anything", False),
    ],
)
def test_a_pattern_allows_what_it_names(pattern: Pattern, name: str, *, allowed: bool) -> None:
    assert bool(re.search(pattern.regex(), name)) is allowed


def test_the_empty_pattern_is_not_the_empty_regex() -> None:
    assert Pattern().regex() == NOTHING
