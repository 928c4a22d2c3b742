"""Contracts: what a body may be. Each row differs from a good body in one respect."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.errors import Code
from messaging.contract import MAX_BODY, InvalidBodyError
from messaging.topology import COMMANDS, EVENTS, Binding, Exchange, Queue, Topology
from tests.messaging.market import Sell


def test_a_body_is_read_as_it_was_written() -> None:
    command = Sell(what="tea", price=Decimal("4.20"))

    assert Sell.from_body(command.to_body()) == command


def test_the_same_value_gives_the_same_bytes() -> None:
    assert Sell(price=Decimal("4.20"), what="tea").to_body() == (
        b'{"what":"tea","price":"4.20","lot":null}'
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"tea"',
        b"{",
        b'{"what": "tea"} trailing',
        b"{}",
        b'{"what": 1}',
        b'{"what": ["tea"]}',
        b'{"what": "tea", "price": -1}',
        b'{"what": "tea", "price": NaN}',
        b'{"what": "tea", "price": "NaN"}',
        b'{"what": "tea", "price": Infinity}',
        b'{"what": "tea", "other": 1}',
        b'{"what": "\xff"}',
        b'{"what": "\\ud800"}',
        b'\xef\xbb\xbf{"what": "tea"}',
        '{"what": "tea"}'.encode("utf-16"),
        b'{"what": "tea", "price": ' + b"[" * 100_000 + b"}",
        b'{"what": "' + b"a" * MAX_BODY + b'"}',
        b'{"what": "' + b"a" * 101 + b'"}',
    ],
)
def test_a_body_of_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBodyError) as caught:
        Sell.from_body(body)

    assert caught.value.code == Code.INVALID_BODY
    assert len(caught.value.detail) <= 300


@given(st.binary(max_size=300))
def test_whatever_comes_in_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidBodyError):
        assert isinstance(Sell.from_body(body), Sell)


def test_a_refusal_names_places_and_no_values() -> None:
    with pytest.raises(InvalidBodyError) as caught:
        Sell.from_body(b'{"what": 5, "price": "the-secret"}')

    assert caught.value.detail == "what: string_type; price: decimal_parsing"


def test_the_sum_of_two_topologies_has_each_object_once() -> None:
    one = Topology(exchanges=(COMMANDS, EVENTS), queues=(Queue("q", {"x": 1}),), bindings=())
    two = Topology(
        exchanges=(EVENTS, Exchange("more", "topic")),
        queues=(Queue("q", {"x": 1}), Queue("r")),
        bindings=(Binding("q", "more", "#"),),
    )

    assert one + two == Topology(
        exchanges=(COMMANDS, EVENTS, Exchange("more", "topic")),
        queues=(Queue("q", {"x": 1}), Queue("r")),
        bindings=(Binding("q", "more", "#"),),
    )
