"""The types of single claims, shared by all kinds of token, each strict by itself."""

from functools import lru_cache
from typing import Annotated, Final

from pydantic import Field

LEEWAY: Final = 30
"""Seconds by which clocks of two machines may differ."""

_LATEST: Final = 2**40

NumericDate = Annotated[int, Field(strict=True, ge=0, le=_LATEST)]
"""Seconds since the epoch (RFC 7519 §2), whole ones."""

ClientId = Annotated[str, Field(strict=True, pattern=r"^[a-z][a-z0-9-]{1,62}$")]
"""A service's name in the key set statement."""

PublicClientId = Annotated[str, Field(strict=True, pattern=r"^app:[a-z][a-z0-9-]{1,58}$")]
"""An OAuth client without a key, which no key set statement lists: no `ClientId` looks like it."""

Subject = Annotated[
    str,
    Field(
        strict=True,
        pattern=r"^(service:[a-z][a-z0-9-]{1,62}"
        r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$",
    ),
]
"""A user's UUID or `service:<client id>`: the two never collide, and nothing looks like them."""

TokenId = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_-]{16,64}$")]
Scope = Annotated[
    str,
    Field(
        strict=True,
        max_length=1000,
        pattern=r"^([\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*)?$",
    ),
]
"""Space-separated scope tokens (RFC 6749 §3.3)."""

Digest = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_-]{43}$")]
"""Base64url SHA-256."""

Name = Annotated[str, Field(strict=True, min_length=1, max_length=255)]


def service_subject(client_id: str) -> str:
    """The subject under which a client speaks for itself."""
    return f"service:{client_id}"


def is_public(client_id: str) -> bool:
    """Whether this is an OAuth client without a key: an app that users sign in with."""
    return client_id.startswith("app:")


@lru_cache(maxsize=256)
def split_scope(scope: str) -> frozenset[str]:
    """The single scopes of a `scope` claim: one set for all tokens that have the same."""
    return frozenset(scope.split(" ")) if scope else frozenset()


def join_scope(scopes: frozenset[str]) -> str:
    """The `scope` claim for these scopes, in a fixed order."""
    return " ".join(sorted(scopes))
