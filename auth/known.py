"""Tokens of the issuer that were found genuine, so that each is taken apart once.

Remembered is what can change only with the key set: form, key, signature, claims (checks 2 to 7).
Times, revocation, audience and scope are judged at every use.
"""

from collections import OrderedDict
from typing import Final

from auth.jws import Claims
from auth.keyset import KeySet

REMEMBERED: Final = 5000
"""The latest used so many, about 3 KiB each; one with a thousand characters of scope has 10 KiB."""


class KnownTokens:
    """Claims by the kind and the SHA-256 of their token; the token itself is not kept.

    All of one key set: the first token that is found genuine under another one ends the others.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._key_set: KeySet | None = None
        self._tokens: OrderedDict[tuple[type[Claims], str], Claims] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def recall(self, kind: type[Claims], fingerprint: str, key_set: KeySet) -> Claims | None:
        """The claims, if the token was found genuine under this very key set."""
        claims = self._tokens.get((kind, fingerprint))
        if claims is None or key_set is not self._key_set:
            return None
        self._tokens.move_to_end((kind, fingerprint))
        return claims

    def remember(self, fingerprint: str, claims: Claims, key_set: KeySet) -> None:
        """The token with this SHA-256 is genuine under `key_set`, and says this."""
        if key_set is not self._key_set:
            self._tokens.clear()
            self._key_set = key_set
        self._tokens[type(claims), fingerprint] = claims
        if len(self._tokens) > self._remembered:
            self._tokens.popitem(last=False)
