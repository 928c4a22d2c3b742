"""Scopes: what an account's roles give, and what is asked for against what is allowed."""

from collections.abc import Mapping
from typing import Final

from pydantic import TypeAdapter, ValidationError

from auth.claims import Scope, split_scope
from messaging.rpc import Refused
from services.contracts.scopes import ROLES
from services.users.store import Account

_SCOPE: Final = TypeAdapter[str](Scope)


Roles = Mapping[str, frozenset[str]]
"""The scopes that each role gives."""


def given_by(roles: Roles) -> frozenset[str]:
    """All scopes that there are for users."""
    return frozenset[str]().union(*roles.values())


def scopes_of(account: Account, roles: Roles = ROLES) -> frozenset[str]:
    """What the account's roles give; a role that is no more gives nothing."""
    return frozenset[str]().union(*(roles.get(role, frozenset()) for role in account.roles))


def asked_scope(unverified_scope: str | None, allowed: frozenset[str]) -> frozenset[str]:
    """What was asked for, all that is allowed where nothing was named (RFC 6749 §3.3).

    Raises:
        Refused: `invalid_scope`: malformed, empty, or more than allowed. Less is never given
            in silence.
    """
    if unverified_scope is None:
        return allowed
    try:
        scopes = split_scope(_SCOPE.validate_python(unverified_scope))
    except ValidationError:
        raise Refused("invalid_scope", "the scope is malformed") from None
    if not scopes or not scopes <= allowed:
        raise Refused("invalid_scope", "the scope is empty or more than may be asked for")
    return scopes
