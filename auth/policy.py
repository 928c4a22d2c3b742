"""What a handler demands of a message before it runs: the scope, and how old is too old."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

CARNET_LIFE: Final = timedelta(minutes=5)
"""The longest life of a carnet (`exp - iat`)."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may ask for this. Made by `requires` or `public`, never by hand."""

    scopes: frozenset[str]
    needs_carnet: bool

    def __post_init__(self) -> None:
        if self.needs_carnet != bool(self.scopes):
            raise ValueError("a carnet is needed if, and only if, a scope is")


@dataclass(frozen=True, slots=True)
class Expiry:
    """Until when a message counts. Made by `at_processing` or `at_acceptance`.

    `max_age` bounds the seal's life, counted from its `iat`.
    """

    carnet_judged_now: bool
    max_age: timedelta


def requires(*scopes: str) -> Policy:
    """Only with a carnet that carries every one of these scopes.

    Raises:
        ValueError: no scope was named, or one is empty.
    """
    if not scopes or not all(scopes):
        raise ValueError("requires() needs at least one scope; for none at all say public()")
    return Policy(scopes=frozenset(scopes), needs_carnet=True)


def public() -> Policy:
    """Without a carnet. A seal is demanded all the same: it says which client asks."""
    return Policy(scopes=frozenset(), needs_carnet=False)


def at_processing() -> Expiry:
    """The carnet must be unexpired when the message is handled."""
    return Expiry(carnet_judged_now=True, max_age=CARNET_LIFE)


def at_acceptance(max_age: timedelta) -> Expiry:
    """The carnet must have been unexpired when the publisher accepted the work (seal's `iat`).

    The work may then wait for up to `max_age`, so an outage of the consumer loses nothing.
    Revocation is judged when the message is handled, as ever.

    Raises:
        ValueError: `max_age` is not positive.
    """
    if max_age <= timedelta(0):
        raise ValueError("max_age must be positive")
    return Expiry(carnet_judged_now=False, max_age=max_age)
