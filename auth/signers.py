"""Whose key signed it: checks 2 to 7, by the keys that the statement lists for that very signer."""

from typing import NoReturn, TypeVar

from auth import jws
from auth.checks import check_signer, check_signing_time
from auth.errors import Code, UntrustedTokenError
from auth.keyset import KeySet, ListedKey
from auth.release import ReleaseClaims
from auth.seal import SealClaims
from auth.strict import UnverifiedToken, parse_token
from auth.tokens import AccessClaims, CarnetClaims
from auth.trust import TrustSource

Issued = TypeVar("Issued", AccessClaims, CarnetClaims, ReleaseClaims)


class Signers:
    """The issuer and the clients, as a trust source lists them.

    Every method raises a `RefusalError`, or `TrustUnavailableError`, and nothing else.
    """

    def __init__(self, trust: TrustSource) -> None:
        self._trust = trust

    def issued(self, unverified_token: str, typ: str, kind: type[Issued], *, now: float) -> Issued:
        """Checks 2 to 7 of what the issuer signs."""
        token = parse_token(unverified_token)  # 2, 3
        jws.check_algorithm(token, typ=typ)  # 4
        key = self.issuer_key(token, now=now)  # 5
        jws.check_signature(token, key.key)  # 6
        claims = jws.parse_claims(token, kind)  # 7
        check_signing_time(key, claims.iat)
        return claims

    def sealed(self, unverified_seal: str, *, now: float) -> SealClaims:
        """Checks 2 to 7 of a seal that comes without a carnet, or whose carnet is not asked."""
        token = parse_token(unverified_seal)  # 2, 3
        jws.check_algorithm(token, typ=jws.SEAL)  # 4
        client_id, key = self.client_key(token, now=now)  # 5
        jws.check_signature(token, key.key)  # 6
        seal = jws.parse_claims(token, SealClaims)  # 7
        check_signer(seal, client_id)
        check_signing_time(key, seal.iat)
        return seal

    def issuer_key(self, token: UnverifiedToken, *, now: float) -> ListedKey:
        listed = self._key_set(now).issuer_keys.get(token.unverified_header["kid"])
        if listed is None:
            self._refuse_unknown(now)
        jws.check_key(token, listed.key)
        return listed

    def client_key(self, token: UnverifiedToken, *, now: float) -> tuple[str, ListedKey]:
        """The seal's key, and the client whose it is: `check_signer` compares it with `iss`."""
        found = self._key_set(now).sealing_key(token.unverified_header["kid"])
        if found is None:
            self._refuse_unknown(now)
        jws.check_key(token, found[1].key)
        return found

    def _key_set(self, now: float) -> KeySet:
        key_set = self._trust.key_set
        key_set.require_current(now)
        return key_set

    def _refuse_unknown(self, now: float) -> NoReturn:
        """Only a fresh feed may call a key unknown; on a stale one we ask again later."""
        self._trust.require_fresh(now)
        raise UntrustedTokenError(Code.UNKNOWN_KEY, "kid is not among this signer's keys")
