"""Whose key signed it: checks 2 to 7, by the keys that the statement lists for that very signer."""

from __future__ import annotations

from typing import Any, Final, Generic, NoReturn, TypeVar

from auth import jws
from auth.checks import check_signer, check_signing_time
from auth.errors import Code, TrustUnavailableError, UntrustedTokenError
from auth.keys import Signature
from auth.keyset import KeySet, ListedKey
from auth.known import KnownTokens
from auth.release import ReleaseClaims
from auth.seal import SealClaims, digest
from auth.strict import MAX_TOKEN, CompactToken, UnverifiedToken, parse_header, split_token
from auth.tokens import AccessClaims, CarnetClaims, IssuedClaims
from auth.trust import TrustSource

Issued = TypeVar("Issued", AccessClaims, CarnetClaims, ReleaseClaims)
Read = TypeVar("Read", AccessClaims, CarnetClaims, ReleaseClaims, SealClaims)

_TYP: Final[dict[type[Any], str]] = {
    AccessClaims: jws.ACCESS_TOKEN,
    CarnetClaims: jws.CARNET,
    ReleaseClaims: jws.RELEASE,
    SealClaims: jws.SEAL,
}


class Reading(Generic[Read]):
    """One token on its way through checks 2 to 7, step by step.

    Every step raises a `RefusalError`, or `TrustUnavailableError`, and nothing else, in this order;
    out of it nothing is believed.
    """

    def __init__(self, unverified_token: str, kind: type[Read], signers: Signers) -> None:
        self.unverified_token = unverified_token
        self._kind: type[Read] = kind
        self._signers = signers
        self._form: CompactToken
        self._token: UnverifiedToken
        self._signer = ""
        self._key: ListedKey
        self._signed: UnverifiedToken | None = None
        self._fingerprint = ""
        self.key_set: KeySet
        """From `recall` or `find_key` on: whose keys count."""
        self.claims: Read
        """From `read_claims` on."""

    def recall(self, now: float) -> bool:
        """Whether it has passed checks 2 to 7 before, by the keys that count now.

        Then there is nothing left of them to do. Raises nothing: what is amiss each check says in
        its turn.
        """
        if self._kind is SealClaims:  # each of those comes once
            return False
        if len(self.unverified_token) > MAX_TOKEN or not self.unverified_token.isascii():
            return False
        try:
            self.key_set = self._signers.key_set(now)
        except TrustUnavailableError:
            return False
        claims = self._signers.known.recall(self._kind, self.fingerprint, self.key_set)
        if claims is None:
            return False
        self.claims = claims
        return True

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the token, as `ath` carries it."""
        if not self._fingerprint:
            self._fingerprint = digest(self.unverified_token.encode("ascii"))
        return self._fingerprint

    def take_apart(self) -> None:
        """Check 2."""
        self._form = split_token(self.unverified_token)

    def read_header(self) -> None:
        """Check 3."""
        self._token = parse_header(self._form)

    def check_algorithm(self) -> None:
        """Check 4."""
        jws.check_algorithm(self._token, typ=_TYP[self._kind])

    def find_key(self, now: float) -> None:
        """Check 5: a seal's key says which client sealed it; all else is the issuer's."""
        self.key_set = self._signers.key_set(now)
        if self._kind is SealClaims:
            self._signer, self._key = self._signers.client_key(self._token, self.key_set, now=now)
        else:
            self._key = self._signers.issuer_key(self._token, self.key_set, now=now)

    @property
    def signature(self) -> Signature:
        """What check 6 is about, from `find_key` on: it needs nothing else, so others can do it."""
        return Signature(self._key.key, self._token.signing_input, self._token.signature)

    def check_signature(self) -> None:
        """Check 6."""
        self.take_verdict(holds=self.signature.holds())

    def take_verdict(self, *, holds: bool) -> None:
        """Check 6, where somebody else has found whether `signature` holds."""
        jws.refuse_unless(holds=holds)
        self._signed = self._token

    def read_claims(self) -> None:
        """Check 7.

        Raises:
            RuntimeError: its signature was not checked, or does not hold: a bug of the caller's.
        """
        if self._signed is None:
            raise RuntimeError("the signature comes before the claims")
        self.claims = jws.parse_claims(self._signed, self._kind)

    def check_signer(self) -> None:
        """What is left of check 5, since only the claims tell; then the token is known."""
        if not isinstance(self.claims, IssuedClaims):
            check_signer(self.claims, self._signer)
        check_signing_time(self._key, self.claims.iat)
        if isinstance(self.claims, IssuedClaims):
            self._signers.known.remember(self.fingerprint, self.claims, self.key_set)

    def run(self, now: float) -> Read:
        """All of them."""
        if not self.recall(now):
            self.take_apart()
            self.read_header()
            self.check_algorithm()
            self.find_key(now)
            self.check_signature()
            self.read_claims()
            self.check_signer()
        return self.claims


class Signers:
    """The issuer and the clients, as a trust source lists them.

    Every method raises a `RefusalError`, or `TrustUnavailableError`, and nothing else.
    """

    def __init__(self, trust: TrustSource) -> None:
        self._trust = trust
        self.known = KnownTokens()

    def reading(self, unverified_token: str, kind: type[Read]) -> Reading[Read]:
        """A token that is to be read."""
        return Reading(unverified_token, kind, self)

    def issued(self, unverified_token: str, kind: type[Issued], *, now: float) -> Issued:
        """Checks 2 to 7 of what the issuer signs."""
        return self.reading(unverified_token, kind).run(now)

    def sealed(self, unverified_seal: str, *, now: float) -> SealClaims:
        """Checks 2 to 7 of a seal that comes without a carnet, or whose carnet is not asked."""
        return self.reading(unverified_seal, SealClaims).run(now)

    def issuer_key(self, token: UnverifiedToken, key_set: KeySet, *, now: float) -> ListedKey:
        listed = key_set.issuer_keys.get(token.unverified_header["kid"])
        if listed is None:
            self._refuse_unknown(now)
        jws.check_key(token, listed.key)
        return listed

    def client_key(
        self, token: UnverifiedToken, key_set: KeySet, *, now: float
    ) -> tuple[str, ListedKey]:
        """The seal's key, and the client whose it is: `check_signer` compares it with `iss`."""
        found = key_set.sealing_key(token.unverified_header["kid"])
        if found is None:
            self._refuse_unknown(now)
        jws.check_key(token, found[1].key)
        return found

    def key_set(self, now: float) -> KeySet:
        """The present one, while it is believed."""
        key_set = self._trust.key_set
        key_set.require_current(now)
        return key_set

    def _refuse_unknown(self, now: float) -> NoReturn:
        """Only a fresh feed may call a key unknown; on a stale one we ask again later."""
        self._trust.require_fresh(now)
        raise UntrustedTokenError(Code.UNKNOWN_KEY, "kid is not among this signer's keys")
