"""Tokens of the issuer that were found genuine, so that each is taken apart once.

Remembered is what can change only with the key set: form, key, signature, claims (checks 2 to 7).
Times, revocation, audience and scope are judged at every use.
"""

from collections import OrderedDict
from typing import Final, TypeVar

from auth.keyset import KeySet
from auth.tokens import IssuedClaims

REMEMBERED: Final = 100_000
"""The latest used so many, about 600 bytes each: 60 MiB once so many have come, and none before.

One with a thousand characters of scope that no other has takes 1.6 KiB.
"""

Kind = TypeVar("Kind")


class KnownTokens:
    """Claims by the SHA-256 of their token; the token itself is not kept.

    All of one key set: the first token that is found genuine under another one ends the others.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._key_set: KeySet | None = None
        self._tokens: OrderedDict[str, IssuedClaims] = OrderedDict()
        self.recalled = 0
        """Times that a token was known; `missed`: that it was not."""
        self.missed = 0

    def __len__(self) -> int:
        return len(self._tokens)

    def recall(self, kind: type[Kind], fingerprint: str, key_set: KeySet) -> Kind | None:
        """The claims, if the token was found genuine under this very key set, as one of `kind`.

        A release is no carnet, though it has all that a carnet says.
        """
        claims = self._tokens.get(fingerprint)
        if type(claims) is not kind or key_set is not self._key_set:
            self.missed += 1
            return None
        self.recalled += 1
        self._tokens.move_to_end(fingerprint)
        return claims

    def remember(self, fingerprint: str, claims: IssuedClaims, key_set: KeySet) -> None:
        """The token with this SHA-256 is genuine under `key_set`, and says this."""
        if key_set is not self._key_set:
            self._tokens.clear()
            self._key_set = key_set
        self._tokens[fingerprint] = claims
        if len(self._tokens) > self._remembered:
            self._tokens.popitem(last=False)
