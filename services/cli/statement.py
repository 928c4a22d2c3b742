"""A key set statement as people read it."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from auth.keyset import KeySet, ListedKey
from auth.statement import KeySetDraft
from services.authority import ALARM

_DAY = 24 * 3600
_KID = 43  # characters of a SHA-256 in base64url: to be copied, never cut
_STYLES = {"active": "green", "next": "cyan", "retired": "dim"}


def describe(key_set: KeySet, *, now: float) -> RenderableType:
    """Version and life, the issuer's keys, and each client with its keys and rights."""
    days = (key_set.expires_at - now) / _DAY
    ends = Text(
        f"version {key_set.version} of issuer {key_set.issuer}, signed {when(key_set.issued_at)}, "
        f"believed until {when(key_set.expires_at)} ({days:.0f} days)",
        style="yellow" if needs_signing(key_set, now=now) else "",
    )
    kid = Column("key", no_wrap=True, min_width=_KID)
    keys = Table("owner", kid, "alg", "state", title="keys", title_justify="left")
    for listed in key_set.issuer_keys.values():
        keys.add_row("issuer", *_key_cells(listed))
    for client_id, client in key_set.clients.items():
        for listed in client.keys.values():
            keys.add_row(client_id, *_key_cells(listed))
        if client.enc is not None:
            keys.add_row(client_id, client.enc.kid, "ECDH-ES", "encryption")
    clients = Table(
        "client", "publishes", "exchanges", "scopes", title="clients", title_justify="left"
    )
    for client_id, client in key_set.clients.items():
        rights = (client.publishes, client.exchanges, client.scopes)
        clients.add_row(client_id, *("\n".join(sorted(right)) or "none" for right in rights))
    return Group(ends, keys, clients)


def as_json(key_set: KeySet) -> dict[str, Any]:
    """What the statement says, as an object."""
    content = KeySetDraft.of(key_set)
    return {
        "version": key_set.version,
        "iat": key_set.issued_at,
        "exp": key_set.expires_at,
        "issuer": {"iss": key_set.issuer, "keys": content.issuer_keys},
        "clients": content.clients,
    }


def needs_signing(key_set: KeySet, *, now: float) -> bool:
    """Whether it ends so soon that it should be signed anew."""
    return key_set.expires_at - ALARM < now


def when(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _key_cells(listed: ListedKey) -> tuple[str, str, Text]:
    state = listed.state if listed.retired_at is None else f"retired {when(listed.retired_at)}"
    return listed.key.kid, listed.key.algorithm, Text(state, style=_STYLES[listed.state])
