"""Tokens of the issuer that were found genuine, so that each is taken apart once.

Remembered is what can change only with the key set: form, key, signature, claims (checks 2 to 7).
Times, revocation, audience and scope are judged at every use.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from auth.jws import Claims
from auth.keyset import KeySet

REMEMBERED: Final = 5000
"""The latest used so many, about 3 KiB each."""


@dataclass(frozen=True, slots=True)
class _Known:
    claims: Claims
    key_set: KeySet


class KnownTokens:
    """Claims by the kind and the SHA-256 of their token; the token itself is not kept."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._tokens: OrderedDict[tuple[type[Claims], str], _Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def recall(self, kind: type[Claims], fingerprint: str, key_set: KeySet) -> Claims | None:
        """The claims, if the token was found genuine under this very key set."""
        known = self._tokens.get((kind, fingerprint))
        if known is None or known.key_set is not key_set:
            return None
        self._tokens.move_to_end((kind, fingerprint))
        return known.claims

    def remember(self, fingerprint: str, claims: Claims, key_set: KeySet) -> None:
        """The token with this SHA-256 is genuine under `key_set`, and says this."""
        self._tokens[type(claims), fingerprint] = _Known(claims, key_set)
        if len(self._tokens) > self._remembered:
            self._tokens.popitem(last=False)
