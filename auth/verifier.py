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

from collections.abc import Mapping
from typing import NoReturn

from auth import jws
from auth.claims import LEEWAY, service_subject
from auth.errors import (
    Code,
    ExpiredTokenError,
    ForbiddenError,
    MalformedTokenError,
    RefusalError,
    SealMismatchError,
    UntrustedTokenError,
)
from auth.keyset import ListedKey
from auth.message import (
    AUTHORIZATION,
    BEARER,
    CARNET_SEAL,
    Route,
    UnverifiedMessage,
    VerifiedMessage,
)
from auth.policy import Expiry, Policy, at_processing
from auth.seal import MAX_EVENT_AGE, MAX_REQUEST_AGE, Kind, SealClaims, digest
from auth.strict import UnverifiedToken, parse_json_object, parse_token
from auth.tokens import MAX_ACCESS_LIFE, MAX_CARNET_LIFE, AccessClaims, CarnetClaims
from auth.trust import TrustSource

__all__ = ["Route", "UnverifiedMessage", "VerifiedMessage", "Verifier"]


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
            _mismatch("sealed for another reply_to")
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
        seal = self._verify_seal(message, now=now)
        if seal.iss != responder:
            raise UntrustedTokenError(Code.WRONG_CLIENT, "not sealed by the service that was asked")
        _check_binding(seal, message, route, "rep", audience=self._audience)
        if seal.re != request_id:
            _mismatch("the reply to another request")
        _check_seal_time(seal, max_age=MAX_REQUEST_AGE, now=now)
        return VerifiedMessage(seal=seal, carnet=None, principal=None)

    def event(self, message: UnverifiedMessage, route: Route, *, now: float) -> VerifiedMessage:
        """Verify an event: sealed by the client whose `publishes` names its type.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        seal = self._verify_seal(message, now=now)
        self._check_publishes(seal)
        _check_binding(seal, message, route, "evt", audience=None)
        if seal.sub is None or seal.cause is None:
            _mismatch("an event names its subject and its cause")
        _check_seal_time(seal, max_age=MAX_EVENT_AGE, now=now)
        return VerifiedMessage(seal=seal, carnet=None, principal=None)

    def access_token(self, unverified_token: str, *, now: float) -> AccessClaims:
        """Verify an access token that was issued for us (RFC 9068 §4).

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        token = parse_token(unverified_token)
        jws.check_algorithm(token, typ=jws.ACCESS_TOKEN)
        key = self._issuer_key(token, now=now)
        jws.check_signature(token, key.key)
        claims = jws.parse_claims(token, AccessClaims)
        _check_signing_time(key, claims.iat)
        self._check_issued(claims)
        _check_life(claims, MAX_ACCESS_LIFE, now=now)
        if now > claims.exp + LEEWAY:
            raise ExpiredTokenError(Code.EXPIRED, "the access token is expired")
        self._check_revocation(claims, now=now)
        return claims

    # Checks 1 to 9: is it genuine, and of this very message?

    def _authenticate(
        self, message: UnverifiedMessage, route: Route, policy: Policy, kind: Kind, *, now: float
    ) -> VerifiedMessage:
        if not policy.needs_carnet:
            return self._authenticate_without_carnet(message, route, kind, now=now)
        unverified_carnet = _bearer(_only(message, AUTHORIZATION))  # 1
        unverified_seal = _only(message, CARNET_SEAL)
        carnet_token = parse_token(unverified_carnet)  # 2, 3
        seal_token = parse_token(unverified_seal)
        jws.check_algorithm(carnet_token, typ=jws.CARNET)  # 4
        jws.check_algorithm(seal_token, typ=jws.SEAL)
        carnet_key = self._issuer_key(carnet_token, now=now)  # 5
        seal_key = self._client_key(seal_token, now=now)
        jws.check_signature(carnet_token, carnet_key.key)  # 6
        jws.check_signature(seal_token, seal_key.key)
        carnet = jws.parse_claims(carnet_token, CarnetClaims)  # 7
        seal = jws.parse_claims(seal_token, SealClaims)
        _check_signing_time(carnet_key, carnet.iat)
        _check_signing_time(seal_key, seal.iat)
        self._check_issued(carnet)  # 8
        if seal.iss != _sealing_client(carnet):  # 9
            raise UntrustedTokenError(Code.WRONG_CLIENT, "not sealed by the carnet's own client")
        if seal.ath != digest(unverified_carnet.encode("ascii")):
            _mismatch("sealed with another carnet")
        self._check_publishes(seal)
        _check_binding(seal, message, route, kind, audience=self._audience)
        return VerifiedMessage(seal=seal, carnet=carnet, principal=carnet.principal)

    def _authenticate_without_carnet(
        self, message: UnverifiedMessage, route: Route, kind: Kind, *, now: float
    ) -> VerifiedMessage:
        seal = self._verify_seal(message, now=now)
        if seal.ath is not None or _values(message, AUTHORIZATION):
            _mismatch("a carnet where none is wanted")
        self._check_publishes(seal)
        _check_binding(seal, message, route, kind, audience=self._audience)
        return VerifiedMessage(seal=seal, carnet=None, principal=None)

    def _verify_seal(self, message: UnverifiedMessage, *, now: float) -> SealClaims:
        """Checks 1 to 7 of a message that is sealed and carries no carnet."""
        token = parse_token(_only(message, CARNET_SEAL))
        jws.check_algorithm(token, typ=jws.SEAL)
        key = self._client_key(token, now=now)
        jws.check_signature(token, key.key)
        seal = jws.parse_claims(token, SealClaims)
        _check_signing_time(key, seal.iat)
        return seal

    def _issuer_key(self, token: UnverifiedToken, *, now: float) -> ListedKey:
        return self._find_key(token, self._trust.key_set.issuer_keys, now=now)

    def _client_key(self, token: UnverifiedToken, *, now: float) -> ListedKey:
        """The seal's key, looked up among those of the client that it claims to be from."""
        client = self._trust.key_set.clients.get(_unverified_issuer(token))
        return self._find_key(token, client.keys if client else {}, now=now)

    def _find_key(
        self, token: UnverifiedToken, keys: Mapping[str, ListedKey], *, now: float
    ) -> ListedKey:
        listed = keys.get(token.unverified_header["kid"])
        if listed is None:
            # Only a fresh feed may call a key unknown; on a stale one we ask again later.
            self._trust.require_fresh(now)
            raise UntrustedTokenError(Code.UNKNOWN_KEY, "kid is not among this signer's keys")
        jws.check_key(token, listed.key)
        return listed

    def _check_issued(self, claims: CarnetClaims | AccessClaims) -> None:
        """Equal, never 'contains', never optional (RFC 8725 §3.8, §3.9)."""
        if claims.iss != self._trust.key_set.issuer:
            raise UntrustedTokenError(Code.WRONG_ISSUER, "iss is not our issuer")
        if claims.aud != self._audience:
            raise UntrustedTokenError(Code.WRONG_AUDIENCE, f"aud is not {self._audience}")

    def _check_publishes(self, seal: SealClaims) -> None:
        client = self._trust.key_set.clients.get(seal.iss)
        if client is None or seal.ty not in client.publishes:
            raise UntrustedTokenError(
                Code.TYPE_NOT_ALLOWED, "the key set statement does not give its client this type"
            )

    # Checks 10 to 12: may it be done, now?

    def _admit(
        self, genuine: VerifiedMessage, policy: Policy, expiry: Expiry, *, now: float
    ) -> None:
        _check_seal_time(genuine.seal, max_age=expiry.max_age.total_seconds(), now=now)  # 10
        carnet = genuine.carnet
        if carnet is None:
            return
        _check_life(carnet, MAX_CARNET_LIFE, now=now)
        _check_acceptance(carnet, genuine.seal)
        if expiry.carnet_judged_now and now > carnet.exp + LEEWAY:
            raise ExpiredTokenError(Code.EXPIRED, "the carnet is expired")
        self._check_revocation(carnet, now=now)  # 11
        if not policy.scopes <= carnet.scopes:  # 12
            wanted = " ".join(sorted(policy.scopes - carnet.scopes))
            raise ForbiddenError(Code.INSUFFICIENT_SCOPE, f"the carnet lacks: {wanted}")

    def _check_revocation(self, claims: CarnetClaims | AccessClaims, *, now: float) -> None:
        self._trust.require_fresh(now)
        self._trust.revocations.check(session=claims.sid, subject=claims.sub, epoch=claims.epoch)


def _values(message: UnverifiedMessage, name: str) -> list[tuple[str, object]]:
    """All headers of that name, whatever their case: a second one must not hide."""
    return [(key, value) for key, value in message.headers.items() if key.lower() == name]


def _only(message: UnverifiedMessage, name: str) -> str:
    values = _values(message, name)
    if len(values) > 1:
        raise MalformedTokenError(Code.DUPLICATE_TOKEN, f"more than one {name}")
    if not values or values[0][0] != name or not isinstance(values[0][1], str):
        raise MalformedTokenError(Code.MISSING_TOKEN, f"no header {name} that is a string")
    return values[0][1]


def _bearer(authorization: str) -> str:
    if not authorization.startswith(BEARER):
        raise MalformedTokenError(Code.MISSING_TOKEN, "authorization is not Bearer <carnet>")
    return authorization.removeprefix(BEARER)


def _unverified_issuer(token: UnverifiedToken) -> str:
    """Whose keys to try: a claim that the signature then has to bear out."""
    try:
        issuer = parse_json_object(token.unverified_payload).get("iss")
    except ValueError as error:
        raise MalformedTokenError(Code.MALFORMED_CLAIMS, f"payload: {error}") from error
    if not isinstance(issuer, str):
        raise MalformedTokenError(Code.MALFORMED_CLAIMS, "missing or mistyped: iss")
    return issuer


def _sealing_client(carnet: CarnetClaims) -> str:
    """The one client that may seal with this carnet: its actor, or the service it speaks for."""
    return carnet.actors[0] if carnet.actors else carnet.sub.removeprefix(service_subject(""))


def _check_binding(
    seal: SealClaims,
    message: UnverifiedMessage,
    route: Route,
    kind: Kind,
    *,
    audience: str | None,
) -> None:
    if seal.k != kind:
        _mismatch(f"sealed as another kind of message than {kind}")
    if seal.aud != audience:
        _mismatch("sealed for another receiver")
    if (seal.ex, seal.rk, seal.ty) != (route.exchange, route.routing_key, route.type):
        _mismatch("sealed for another exchange, routing key or type")
    if message.type != seal.ty:
        _mismatch("the type beside the seal is another")
    if seal.bh != digest(message.body):
        _mismatch("sealed over another body")


def _mismatch(detail: str) -> NoReturn:
    raise SealMismatchError(Code.SEAL_MISMATCH, detail)


def _check_signing_time(listed: ListedKey, iat: int) -> None:
    """A retired key is believed for what it signed before it was retired, and no more."""
    if not listed.signed_in_time(iat):
        raise UntrustedTokenError(Code.KEY_RETIRED, "signed with a key after its retirement")


def _check_life(claims: CarnetClaims | AccessClaims, longest: int, *, now: float) -> None:
    if claims.iat > now + LEEWAY:
        raise ExpiredTokenError(Code.NOT_YET_VALID, "issued in the future")
    if not 0 < claims.exp - claims.iat <= longest:
        raise ExpiredTokenError(Code.LIFETIME_TOO_LONG, f"lives longer than {longest} s")


def _check_acceptance(carnet: CarnetClaims, seal: SealClaims) -> None:
    """The work was accepted while the carnet was good."""
    if seal.iat < carnet.iat - LEEWAY:
        raise ExpiredTokenError(Code.NOT_YET_VALID, "sealed before its carnet was issued")
    if seal.iat > carnet.exp:
        raise ExpiredTokenError(Code.EXPIRED, "the carnet was expired when the work was accepted")


def _check_seal_time(seal: SealClaims, *, max_age: float, now: float) -> None:
    if seal.iat > now + LEEWAY:
        raise ExpiredTokenError(Code.NOT_YET_VALID, "sealed in the future")
    if not 0 <= seal.exp - seal.iat <= max_age:
        raise ExpiredTokenError(Code.LIFETIME_TOO_LONG, f"sealed for longer than {max_age:.0f} s")
    if now > seal.exp + LEEWAY:
        raise ExpiredTokenError(Code.TOO_OLD, "the work has waited for too long")
