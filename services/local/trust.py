"""A trust root of the local stack's own: it makes the keys and signs the statement by itself.

For one machine, where operator and services are the same. Elsewhere `carnet trust` does it,
with the trust root's private key kept apart from every service.
"""

import time
from dataclasses import replace
from pathlib import Path

from auth.statement import KeySetDraft
from services.authority import ALARM, Authority
from services.contracts.clients import Grant
from services.contracts.playground import NOBODY
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.declared import Declared, grants_with
from services.keyring import ISSUER, Keyring


def make_local_trust(
    state: Path,
    passphrase: bytes | None = None,
    *,
    declared: Declared = (),
    playground: bool = False,
) -> None:
    """Make what is missing: root, keys of every service, statement. Repeating changes nothing.

    A statement that ends within 30 days, or gives the services other rights than this version
    of the code needs, is signed anew. `passphrase` encrypts every private key.
    declared: services of one's own that are to be listed as well.
    playground: the gateway may ask for carnets that nobody takes.

    Raises:
        KeyFileError: a key is there that cannot be used, with this passphrase or at all.
        KeySetError: the statement that is there is not this root's.
        StartError: the folder cannot be used.
    """
    now = time.time()
    authority = Authority(state, passphrase)
    keyring = Keyring(authority.keys, passphrase)
    with authority.alone():
        authority.ensure_root()
        if not authority.has_statement:
            draft = KeySetDraft.new(USER_SERVICE)
            complete(draft, keyring, declared, now=now, playground=playground)
            authority.publish(draft, now=now)
            return
        present = authority.latest()
        draft = KeySetDraft.of(present)
        complete(draft, keyring, declared, now=now, playground=playground)
        if draft != KeySetDraft.of(present) or present.expires_at - ALARM < now:
            authority.publish(draft, now=now)


def complete(
    draft: KeySetDraft,
    keyring: Keyring,
    declared: Declared = (),
    *,
    now: float,
    playground: bool = False,
) -> None:
    """List all that the services of this system need, with keys that are on this machine."""
    complete_issuer(draft, keyring, now=now)
    for client_id, usual in grants_with(declared).items():
        grant = usual
        if playground and client_id == GATEWAY:
            grant = replace(usual, exchanges=usual.exchanges | {NOBODY})
        _complete_client(draft, client_id, grant, keyring, now=now)


def complete_issuer(draft: KeySetDraft, keyring: Keyring, *, now: float) -> None:
    """List one active key of the issuer's and one to follow it."""
    held = {key.kid for key in keyring.issuer()}
    for state in ("active", "next"):
        if any(key["state"] == state and key["kid"] in held for key in draft.issuer_keys):
            continue
        key = keyring.make_next(ISSUER)
        draft.add_next_key(ISSUER, key.public)
        if state == "active":
            draft.promote(ISSUER, key.kid, now=now)


def _complete_client(
    draft: KeySetDraft, client_id: str, grant: Grant, keyring: Keyring, *, now: float
) -> None:
    seal, encryption = keyring.seal(client_id), keyring.encryption(client_id)
    rights = {"publishes": grant.publishes, "exchanges": grant.exchanges, "scopes": grant.scopes}
    if client_id not in draft.clients:
        draft.add_client(client_id, key=seal.public, enc=encryption.public, **rights)
        return
    draft.grant(client_id, **rights)
    draft.encrypt_to(client_id, encryption.public)
    if all(key["kid"] != seal.kid for key in draft.keys_of(client_id)):
        draft.add_next_key(client_id, seal.public)
        draft.promote(client_id, seal.kid, now=now)
