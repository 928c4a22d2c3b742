"""The trace context: passed on in its form, and left out in any other."""

from typing import Final

import pytest

from messaging.envelope import trace_of

PARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STATE: Final = "congo=t61rcWkgMzE"


def test_a_trace_is_passed_on() -> None:
    trace = {"traceparent": PARENT, "tracestate": STATE}

    assert trace_of({**trace, "authorization": "Bearer x"}) == trace
    assert trace_of({"traceparent": PARENT}) == {"traceparent": PARENT}


@pytest.mark.parametrize(
    "parent",
    [None, 7, "", "x" * 9000, PARENT.upper(), f"{PARENT}\n", f" {PARENT}", PARENT[:-1], "00-1"],
)
def test_a_parent_of_another_form_is_left_out_and_the_state_with_it(parent: object) -> None:
    assert trace_of({"traceparent": parent, "tracestate": STATE}) == {}


@pytest.mark.parametrize("state", [None, 7, "x" * 513, "k=\u00e9", "k=v\n", ["k=v"]])
def test_a_state_of_another_form_is_left_out_alone(state: object) -> None:
    assert trace_of({"traceparent": PARENT, "tracestate": state}) == {"traceparent": PARENT}
