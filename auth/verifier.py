"""The verifier: decides whether a message is what it says, before its body is parsed.

The checks of a command, in their order (`auth.errors.Check` names them):

 1. exactly one carnet and one seal, of bearable size
 2. compact form, canonical base64url
 3. header is strict JSON with exactly alg, kid, typ
 4. the expected typ, an allowed alg
 5. a key of that very signer, for that very alg
 6. signature
 7. claims are strict JSON of the right types
 8. carnet: our issuer, our name as the audience
 9. seal: by the carnet's own client, for this body, route and type
10. times, under the handler's rule
11. revocation, under a fresh feed
12. scope
13. the inbox, which is the consumer's (`messaging.inbox`)

Requests, replies and events differ in what is sealed and how long it counts; the table is in
docs/wire-contract.md. Every method returns what was proved or raises a `RefusalError` with a
stable code, or `TrustUnavailableError`; it raises nothing else, whatever came in.
"""

from __future__ import annotations

from typing import NoReturn, TypeVar

from auth import jws
from auth.checks import (
    bearer_token,
    check_acceptance,
    check_binding,
    check_life,
    check_seal_time,
    check_signer,
    check_signing_time,
    header_values,
    named_clients,
    only_header,
    refuse_mismatch,
    sealing_client,
)
from auth.claims import LEEWAY
from auth.errors import (
    Code,
    ExpiredTokenError,
    ForbiddenError,
    RefusalError,
    RevokedTokenError,
    UntrustedTokenError,
)
from auth.keyset import KeySet, ListedKey
from auth.message import (
    AUTHORIZATION,
    CARNET_SEAL,
    Route,
    UnverifiedMessage,
    VerifiedMessage,
)
from auth.policy import Expiry, Policy, at_processing
from auth.seal import MAX_EVENT_AGE, MAX_REQUEST_AGE, Kind, SealClaims, digest
from auth.strict import UnverifiedToken, parse_header, parse_token, split_token
from auth.tokens import AccessClaims, CarnetClaims
from auth.trust import TrustSource

__all__ = ["Route", "UnverifiedMessage", "VerifiedMessage", "Verifier"]

Issued = TypeVar("Issued", AccessClaims, CarnetClaims)


class Verifier:
    """Judges what comes in, for one receiving service (`audience`, its client id)."""

    def __init__(self, trust: TrustSource, *, audience: str) -> None:
        self._trust = trust
        self._audience = audience

    def command(
        self,
        message: UnverifiedMessage,
        route: Route,
        policy: Policy,
        expiry: Expiry,
        *,
        now: float,
    ) -> VerifiedMessage:
        """Verify a command for the handler that registered `route`, `policy` and `expiry`.

        Raises:
            RefusalError: with `authenticated` set if carnet and seal were genuine (checks 1 to
                9 passed), so that the refusal may be told and recorded.
            TrustUnavailableError: pause and ask again.
        """
        genuine = self._authenticate(message, route, policy, "cmd", now=now)
        try:
            self._admit(genuine, policy, expiry, now=now)
        except RefusalError as refusal:
            raise refusal.of(genuine) from refusal.__cause__
        return genuine

    def request(
        self, message: UnverifiedMessage, route: Route, policy: Policy, *, now: float
    ) -> VerifiedMessage:
        """Verify an RPC request. That it is single-use is for the responder to remember.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        genuine = self._authenticate(message, route, policy, "req", now=now)
        if genuine.seal.rt is None or genuine.seal.rt != message.reply_to:
            refuse_mismatch("sealed for another reply_to")
        try:
            if genuine.seal.exp - genuine.seal.iat > MAX_REQUEST_AGE:
                raise ExpiredTokenError(Code.LIFETIME_TOO_LONG, "a request lives 2 min at most")
            self._admit(genuine, policy, at_processing(), now=now)
        except RefusalError as refusal:
            raise refusal.of(genuine) from refusal.__cause__
        return genuine

    def reply(
        self,
        message: UnverifiedMessage,
        route: Route,
        *,
        responder: str,
        request_id: str,
        now: float,
    ) -> VerifiedMessage:
        """Verify the reply of the service that was called, to the request that was sent.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        seal = self._sealed(only_header(message, CARNET_SEAL), now=now)
        if seal.iss != responder:
            raise UntrustedTokenError(Code.WRONG_CLIENT, "not sealed by the service that was asked")
        check_binding(seal, message, route, "rep", audience=self._audience)
        if seal.re != request_id:
            refuse_mismatch("the reply to another request")
        check_seal_time(seal, max_age=MAX_REQUEST_AGE, now=now)
        return VerifiedMessage(seal=seal, carnet=None, principal=None)

    def event(self, message: UnverifiedMessage, route: Route, *, now: float) -> VerifiedMessage:
        """Verify an event: sealed by the one client whose `publishes` names its type.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        seal = self._sealed(only_header(message, CARNET_SEAL), now=now)
        self._check_publishes(seal)
        check_binding(seal, message, route, "evt", audience=None)
        if seal.sub is None or seal.cause is None:
            refuse_mismatch("an event names its subject and its cause")
        check_seal_time(seal, max_age=MAX_EVENT_AGE, now=now)
        return VerifiedMessage(seal=seal, carnet=None, principal=None)

    def access_token(self, unverified_token: str, *, now: float) -> AccessClaims:
        """Verify an access token that was issued for us (RFC 9068 §4).

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        return self._issued(unverified_token, jws.ACCESS_TOKEN, AccessClaims, now=now)

    def carnet(self, unverified_carnet: str, *, now: float) -> CarnetClaims:
        """Verify a carnet for us by itself: all that can be said without message and seal.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        return self._issued(unverified_carnet, jws.CARNET, CarnetClaims, now=now)

    def seal(self, unverified_seal: str, *, now: float) -> SealClaims:
        """Verify a seal by itself: all that can be said without its message.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        seal = self._sealed(unverified_seal, now=now)
        self._check_publishes(seal)
        check_seal_time(seal, max_age=MAX_EVENT_AGE, now=now)
        return seal

    def _issued(self, unverified_token: str, typ: str, kind: type[Issued], *, now: float) -> Issued:
        token = parse_token(unverified_token)
        jws.check_algorithm(token, typ=typ)
        key = self._issuer_key(token, now=now)
        jws.check_signature(token, key.key)
        claims = jws.parse_claims(token, kind)
        check_signing_time(key, claims.iat)
        self._check_issued(claims)
        check_life(claims, now=now)
        if now > claims.exp + LEEWAY:
            raise ExpiredTokenError(Code.EXPIRED, "the token is expired")
        self._check_revocation(claims, now=now)
        return claims

    # Checks 1 to 9: is it genuine, and of this very message?

    def _authenticate(
        self, message: UnverifiedMessage, route: Route, policy: Policy, kind: Kind, *, now: float
    ) -> VerifiedMessage:
        if not policy.needs_carnet:
            return self._authenticate_without_carnet(message, route, kind, now=now)
        unverified_carnet = bearer_token(only_header(message, AUTHORIZATION))  # 1
        unverified_seal = only_header(message, CARNET_SEAL)
        carnet_form = split_token(unverified_carnet)  # 2
        seal_form = split_token(unverified_seal)
        carnet_token = parse_header(carnet_form)  # 3
        seal_token = parse_header(seal_form)
        jws.check_algorithm(carnet_token, typ=jws.CARNET)  # 4
        jws.check_algorithm(seal_token, typ=jws.SEAL)
        carnet_key = self._issuer_key(carnet_token, now=now)  # 5
        client_id, seal_key = self._client_key(seal_token, now=now)
        jws.check_signature(carnet_token, carnet_key.key)  # 6
        jws.check_signature(seal_token, seal_key.key)
        carnet = jws.parse_claims(carnet_token, CarnetClaims)  # 7
        seal = jws.parse_claims(seal_token, SealClaims)
        check_signer(seal, client_id)
        check_signing_time(carnet_key, carnet.iat)
        check_signing_time(seal_key, seal.iat)
        self._check_issued(carnet)  # 8
        if seal.iss != sealing_client(carnet):  # 9
            raise UntrustedTokenError(Code.WRONG_CLIENT, "not sealed by the carnet's own client")
        if seal.ath != digest(unverified_carnet.encode("ascii")):
            refuse_mismatch("sealed with another carnet")
        self._check_publishes(seal)
        check_binding(seal, message, route, kind, audience=self._audience)
        return VerifiedMessage(seal=seal, carnet=carnet, principal=carnet.principal)

    def _authenticate_without_carnet(
        self, message: UnverifiedMessage, route: Route, kind: Kind, *, now: float
    ) -> VerifiedMessage:
        seal = self._sealed(only_header(message, CARNET_SEAL), now=now)
        if seal.ath is not None or header_values(message, AUTHORIZATION):
            refuse_mismatch("a carnet where none is wanted")
        self._check_publishes(seal)
        check_binding(seal, message, route, kind, audience=self._audience)
        return VerifiedMessage(seal=seal, carnet=None, principal=None)

    def _sealed(self, unverified_seal: str, *, now: float) -> SealClaims:
        """Checks 2 to 7 of a seal that comes without a carnet."""
        token = parse_token(unverified_seal)
        jws.check_algorithm(token, typ=jws.SEAL)
        client_id, key = self._client_key(token, now=now)
        jws.check_signature(token, key.key)
        seal = jws.parse_claims(token, SealClaims)
        check_signer(seal, client_id)
        check_signing_time(key, seal.iat)
        return seal

    def _issuer_key(self, token: UnverifiedToken, *, now: float) -> ListedKey:
        listed = self._key_set(now).issuer_keys.get(token.unverified_header["kid"])
        if listed is None:
            self._refuse_unknown(now)
        jws.check_key(token, listed.key)
        return listed

    def _client_key(self, token: UnverifiedToken, *, now: float) -> tuple[str, ListedKey]:
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

    def _check_issued(self, claims: CarnetClaims | AccessClaims) -> None:
        """Equal, never 'contains', never optional (RFC 8725 §3.8, §3.9)."""
        if claims.iss != self._trust.key_set.issuer:
            raise UntrustedTokenError(Code.WRONG_ISSUER, "iss is not our issuer")
        if claims.aud != self._audience:
            raise UntrustedTokenError(Code.WRONG_AUDIENCE, f"aud is not {self._audience}")

    def _check_publishes(self, seal: SealClaims) -> None:
        key_set = self._trust.key_set
        client = key_set.clients.get(seal.iss)
        if client is None or seal.ty not in client.publishes:
            raise UntrustedTokenError(
                Code.TYPE_NOT_ALLOWED, "the key set statement does not give its client this type"
            )
        # Wishes may come from several clients; what has happened, from the one that did it. Which
        # types are events the statement does not say: a seal does.
        if seal.k == "evt" and seal.ty in key_set.shared_types:
            raise UntrustedTokenError(
                Code.AMBIGUOUS_PUBLISHER,
                "the key set statement gives several clients this event; only one may record it",
            )

    # Checks 10 to 12: may it be done, now?

    def _admit(
        self, genuine: VerifiedMessage, policy: Policy, expiry: Expiry, *, now: float
    ) -> None:
        check_seal_time(genuine.seal, max_age=expiry.max_age.total_seconds(), now=now)  # 10
        carnet = genuine.carnet
        if carnet is None:
            self._trust.require_fresh(now)  # its client may have been withdrawn meanwhile
            return
        check_life(carnet, now=now)
        check_acceptance(carnet, genuine.seal)
        if expiry.carnet_judged_now and now > carnet.exp + LEEWAY:
            raise ExpiredTokenError(Code.EXPIRED, "the carnet is expired")
        self._check_revocation(carnet, now=now)  # 11
        if not policy.scopes <= carnet.scopes:  # 12
            wanted = " ".join(sorted(policy.scopes - carnet.scopes))
            raise ForbiddenError(Code.INSUFFICIENT_SCOPE, f"the carnet lacks: {wanted}")

    def _check_revocation(self, claims: CarnetClaims | AccessClaims, *, now: float) -> None:
        self._trust.require_fresh(now)
        self._trust.revocations.check(session=claims.sid, subject=claims.sub, epoch=claims.epoch)
        withdrawn = named_clients(claims) - self._trust.key_set.clients.keys()
        if withdrawn:
            raise RevokedTokenError(Code.REVOKED, "its client was withdrawn by the trust root")
