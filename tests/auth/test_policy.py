"""A handler's demands are said in full or not at all."""

from datetime import timedelta

import pytest

from auth.policy import CARNET_LIFE, Policy, at_acceptance, at_processing, public, requires


def test_a_policy_names_every_scope_that_it_wants() -> None:
    policy = requires("orders:read", "orders:write")

    assert policy.scopes == {"orders:read", "orders:write"}
    assert policy.needs_carnet


@pytest.mark.parametrize("scopes", [(), ("",), ("orders:write", "")])
def test_an_empty_scope_is_refused(scopes: tuple[str, ...]) -> None:
    """A forgotten setting must not open a handler to everyone."""
    with pytest.raises(ValueError, match="public"):
        requires(*scopes)


def test_public_is_said_aloud() -> None:
    assert public() == Policy(scopes=frozenset(), needs_carnet=False)


@pytest.mark.parametrize(
    ("scopes", "needs_carnet"), [(frozenset[str](), True), (frozenset({"orders:write"}), False)]
)
def test_no_policy_is_half_of_each(scopes: frozenset[str], *, needs_carnet: bool) -> None:
    with pytest.raises(ValueError, match="if, and only if"):
        Policy(scopes=scopes, needs_carnet=needs_carnet)


def test_the_default_judges_the_carnet_now() -> None:
    assert at_processing().carnet_judged_now
    assert at_processing().max_age == CARNET_LIFE


def test_work_may_wait_for_as_long_as_is_said() -> None:
    expiry = at_acceptance(timedelta(hours=24))

    assert not expiry.carnet_judged_now
    assert expiry.max_age == timedelta(hours=24)


@pytest.mark.parametrize("max_age", [timedelta(0), timedelta(seconds=-1)])
def test_work_that_may_never_wait_is_refused(max_age: timedelta) -> None:
    with pytest.raises(ValueError, match="positive"):
        at_acceptance(max_age)
