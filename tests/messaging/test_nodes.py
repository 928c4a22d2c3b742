"""The URLs of a broker: of one, or of each node of a cluster."""

import pytest

from messaging.broker import Broker
from messaging.errors import BrokerUrlError
from messaging.nodes import in_random_order, parse_urls


@pytest.mark.parametrize(
    "url",
    [
        "",
        " , ",
        "nonsense",
        "http://localhost",
        "amqp://",
        "amqp://localhost:port",
        "amqp://localhost:99999",
        "amqp:///vhost",
        "amqp://one, two",
        "amqp://one,two",
        "amqp://localhost?heartbeat=soon",
        "amqp://localhost?heartbeat=-1",
        "amqp://one http://two",
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BrokerUrlError):
        Broker(url, name="test")


@pytest.mark.parametrize(
    ("urls", "why"),
    [
        ("amqp://ada:pw@one amqp://bob:pw@two", "differ in their host and port alone"),
        ("amqp://ada:pw@one amqp://ada:other@two", "differ in their host and port alone"),
        ("amqp://ada:pw@one/a amqp://ada:pw@two/b", "differ in their host and port alone"),
        ("amqp://ada:pw@one amqp://ada:pw@one:5672", "named twice"),
    ],
)
def test_urls_of_different_brokers_are_refused(urls: str, why: str) -> None:
    with pytest.raises(BrokerUrlError, match=why):
        parse_urls(urls)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://ada:the-secret/word@host",
        "amqp://ada:the-secret@host:port",
        "http://ada:the-secret@host",
        "amqp://ada:the-secret@one amqp://ada:the-secret-2@two",
        "amqp://ada:the-secret@one amqp://ada:the-secret@one",
        "amqp://ada:the-secret@host?heartbeat=soon",
    ],
)
def test_no_refusal_quotes_a_password(url: str) -> None:
    with pytest.raises(BrokerUrlError) as caught:
        parse_urls(url)

    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.__cause__)


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n", " ,\n "])
def test_the_nodes_of_a_cluster_stand_between_spaces_or_commas(between: str) -> None:
    urls = parse_urls(f"amqp://a:b@one{between}amqp://a:b@two:5673{between}amqps://a:b@three")

    assert [(url.host, url.port) for url in urls] == [
        ("one", 5672),
        ("two", 5673),
        ("three", 5671),
    ]


def test_a_comma_may_stand_in_a_password_and_in_a_virtual_host() -> None:
    (url,) = parse_urls("amqp://ada:a,b@host/v,w")

    assert (url.password, url.host, url.path) == ("a,b", "host", "/v,w")


def test_heartbeats_are_set_unless_the_url_sets_them() -> None:
    assert parse_urls("amqp://localhost")[0].query["heartbeat"] == "5"
    assert parse_urls("amqp://localhost?heartbeat=3")[0].query["heartbeat"] == "3"


def test_each_node_comes_first_at_times() -> None:
    urls = parse_urls("amqp://one amqp://two amqp://three")

    orders = [in_random_order(urls) for _ in range(200)]

    assert all(sorted(order) == sorted(urls) for order in orders)
    assert {order[0].host for order in orders} == {"one", "two", "three"}
