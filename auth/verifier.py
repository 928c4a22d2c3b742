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

A command may be verified in three parts: `Verifier.open_command` does 1 to 5, its signatures are
checked (`Opened.signatures`), and `Verifier.close_command` does 7 to 12, or all of them where other
keys count by then. Of both tokens the carnet is first at every check. One that came before has
passed 2 to 7 (`auth.known`); all else is judged at every use.

A command with a release is judged by that in the place of its carnet, which is not looked at but
for being the one that was sealed (`_authenticate_released`, `_admit_released`).
Requests, replies and events differ in what is sealed and how long it counts; the table is in
docs/wire-contract.md. Every method returns what was proved or raises a `RefusalError` with a
stable code, or `TrustUnavailableError`; it raises nothing else, whatever came in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

from auth.checks import (
    bearer_token,
    check_acceptance,
    check_binding,
    check_life,
    check_seal_time,
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
    MalformedTokenError,
    RefusalError,
    RevokedTokenError,
    UntrustedTokenError,
)
from auth.keys import Signature
from auth.keyset import KeySet
from auth.known import KnownTokens
from auth.message import (
    AUTHORIZATION,
    CARNET_RELEASE,
    CARNET_SEAL,
    Route,
    UnverifiedMessage,
    VerifiedMessage,
)
from auth.policy import Expiry, Policy, at_processing
from auth.release import Lift, ReleaseClaims, check_release_time
from auth.revocation import RevocationList
from auth.seal import MAX_EVENT_AGE, MAX_REQUEST_AGE, Kind, SealClaims, digest
from auth.signers import Issued, Reading, Signers
from auth.strict import split_token
from auth.tokens import AccessClaims, CarnetClaims
from auth.trust import TrustSource

__all__ = ["Opened", "Route", "UnverifiedMessage", "VerifiedMessage", "Verifier"]


class _Tokens(NamedTuple):
    """A command's two tokens, and those of them that are not known."""

    carnet: Reading[CarnetClaims]
    seal: Reading[SealClaims]
    unread: Sequence[Reading[Any]]


@dataclass(slots=True)
class Opened:
    """A message after checks 1 to 5, of which nothing is believed yet.

    key_set: whose keys it is to be verified with.
    unread: its tokens whose signatures are to be checked.
    read: does checks 7 to 9; raises `RuntimeError` where a signature was not found to hold.
    """

    message: UnverifiedMessage
    route: Route
    policy: Policy
    key_set: KeySet
    unread: Sequence[Reading[Any]]
    read: Callable[[], VerifiedMessage]

    @classmethod
    def genuine(
        cls, genuine: VerifiedMessage, message: UnverifiedMessage, route: Route, policy: Policy
    ) -> Self:
        """One that has passed checks 6 to 9 as well."""
        return cls(message, route, policy, genuine.key_set, (), lambda: genuine)

    @property
    def signatures(self) -> list[Signature]:
        """What check 6 is about, one for each of `unread`."""
        return [token.signature for token in self.unread]

    def check_signatures(self) -> None:
        """Check 6.

        Raises:
            UntrustedTokenError: `bad_signature`.
        """
        self.take_verdicts([signature.holds() for signature in self.signatures])

    def take_verdicts(self, verdicts: Sequence[bool]) -> None:
        """Check 6, where somebody else has found which of `signatures` hold.

        Raises:
            UntrustedTokenError: `bad_signature`.
        """
        for token, holds in zip(self.unread, verdicts, strict=True):
            token.take_verdict(holds=holds)


class Moment(NamedTuple):
    """All that checks 10 to 12 judge by besides the message: equal ones judge it alike.

    second: up to which it is: NumericDates are whole, so within one nothing ends.
    """

    key_set: KeySet
    revocations: RevocationList
    changes: int
    second: int


class Verifier:
    """Judges what comes in, for one receiving service (`audience`, its client id)."""

    def __init__(self, trust: TrustSource, *, audience: str) -> None:
        self._trust = trust
        self._signers = Signers(trust)
        self._audience = audience

    @property
    def known(self) -> KnownTokens:
        """What it remembers of tokens, and how often that was of use."""
        return self._signers.known

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
        opened = self.open_command(message, route, policy, now=now)
        opened.check_signatures()
        return self.close_command(opened, expiry, now=now)

    def open_command(
        self, message: UnverifiedMessage, route: Route, policy: Policy, *, now: float
    ) -> Opened:
        """The first part of `command`: checks 1 to 5, and those up to 9 where it asks no carnet.

        The second is `check_signatures` of what it returns, or `take_verdicts` where somebody else
        has checked them; the third is `close_command`. Raises as `command`.
        """
        if header_values(message, CARNET_RELEASE):
            genuine = self._authenticate_released(message, route, policy, now=now)
            return Opened.genuine(genuine, message, route, policy)
        return self._open(message, route, policy, "cmd", now=now)

    def close_command(self, opened: Opened, expiry: Expiry, *, now: float) -> VerifiedMessage:
        """Checks 7 to 12 of a command whose signatures hold, by the time that it is now.

        Raises:
            RuntimeError: a signature was not checked, or does not hold: a bug of the caller's.
            RefusalError, TrustUnavailableError: as `command`.
        """
        if not self._still_counts(opened.key_set, now=now):
            return self.command(opened.message, opened.route, opened.policy, expiry, now=now)
        genuine = opened.read()
        self._admit(genuine, opened.policy, expiry, now=now)
        return genuine

    def command_again(
        self,
        genuine: VerifiedMessage,
        message: UnverifiedMessage,
        route: Route,
        policy: Policy,
        expiry: Expiry,
        *,
        now: float,
    ) -> VerifiedMessage:
        """Verify a command that was verified a while ago, and has not changed: checks 10 to 12.

        All of them where other keys count by then. Raises as `command`.
        """
        if not self._still_counts(genuine.key_set, now=now):
            return self.command(message, route, policy, expiry, now=now)
        self._admit(genuine, policy, expiry, now=now)
        return genuine

    def moment(self, now: float) -> Moment:
        """By what it would judge a message now."""
        revocations = self._trust.revocations
        return Moment(self._trust.key_set, revocations, revocations.changes, math.ceil(now))

    def fresh_moment(self, now: float) -> Moment:
        """As `moment`; messages that were admitted at an equal one need no `command_again`.

        Raises:
            TrustUnavailableError: pause and ask again.
        """
        self._trust.require_fresh(now)
        return self.moment(now)

    def _still_counts(self, key_set: KeySet, *, now: float) -> bool:
        """Whether what was found under this key set is true; else it is to be found anew."""
        return key_set is self._trust.key_set and now <= key_set.expires_at

    def request(
        self, message: UnverifiedMessage, route: Route, policy: Policy, *, now: float
    ) -> VerifiedMessage:
        """Verify an RPC request. That it is single-use is for the responder to remember.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        opened = self._open(message, route, policy, "req", now=now)
        opened.check_signatures()
        genuine = opened.read()
        if genuine.seal.rt is None or genuine.seal.rt != message.reply_to:
            refuse_mismatch("sealed for another reply_to")
        try:
            if genuine.seal.exp - genuine.seal.iat > MAX_REQUEST_AGE:
                raise ExpiredTokenError(Code.LIFETIME_TOO_LONG, "a request lives 2 min at most")
        except RefusalError as refusal:
            raise refusal.of(genuine) from refusal.__cause__
        self._admit(genuine, policy, at_processing(), now=now)
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
        seal = self._signers.sealed(only_header(message, CARNET_SEAL), now=now)
        if seal.iss != responder:
            raise UntrustedTokenError(Code.WRONG_CLIENT, "not sealed by the service that was asked")
        check_binding(seal, message, route, "rep", audience=self._audience)
        if seal.re != request_id:
            refuse_mismatch("the reply to another request")
        check_seal_time(seal, max_age=MAX_REQUEST_AGE, now=now)
        return self._without_carnet(seal)

    def event(self, message: UnverifiedMessage, route: Route, *, now: float) -> VerifiedMessage:
        """Verify an event: sealed by the one client whose `publishes` names its type.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        seal = self._signers.sealed(only_header(message, CARNET_SEAL), now=now)
        self._check_publishes(seal)
        check_binding(seal, message, route, "evt", audience=None)
        if seal.sub is None or seal.cause is None:
            refuse_mismatch("an event names its subject and its cause")
        check_seal_time(seal, max_age=MAX_EVENT_AGE, now=now)
        return self._without_carnet(seal)

    def event_again(
        self, genuine: VerifiedMessage, message: UnverifiedMessage, route: Route, *, now: float
    ) -> VerifiedMessage:
        """Verify an event that was verified a while ago, and is to be acted on: under a fresh feed.

        All of it where other keys count by then. Raises as `command`.
        """
        self._trust.require_fresh(now)
        if not self._still_counts(genuine.key_set, now=now):
            return self.event(message, route, now=now)
        check_seal_time(genuine.seal, max_age=MAX_EVENT_AGE, now=now)
        return genuine

    def access_token(self, unverified_token: str, *, now: float) -> AccessClaims:
        """Verify an access token that was issued for us (RFC 9068 §4).

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        return self._issued(unverified_token, AccessClaims, now=now)

    def carnet(self, unverified_carnet: str, *, now: float) -> CarnetClaims:
        """Verify a carnet for us by itself: all that can be said without message and seal.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        return self._issued(unverified_carnet, CarnetClaims, now=now)

    def seal(self, unverified_seal: str, *, now: float) -> SealClaims:
        """Verify a seal by itself: all that can be said without its message.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        seal = self._signers.sealed(unverified_seal, now=now)
        self._check_publishes(seal)
        check_seal_time(seal, max_age=MAX_EVENT_AGE, now=now)
        return seal

    def letter(
        self,
        unverified_carnet: str | None,
        unverified_seal: str,
        lift: frozenset[Lift],
        *,
        now: float,
    ) -> VerifiedMessage:
        """Verify carnet and seal of a dead letter again, for the issuer, who is to release it.

        Its body and route are for the consumer, who checks them as ever. `lift`: what does not
        count against it.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        seal = self._signers.sealed(unverified_seal, now=now)
        if seal.k != "cmd" or seal.aud != self._audience:
            refuse_mismatch("not the seal of a command to this receiver")
        self._check_publishes(seal)
        as_of = min(now, seal.exp) if "age" in lift else now
        if unverified_carnet is None:
            if seal.ath is not None:
                refuse_mismatch("sealed with a carnet, and without it here")
            check_seal_time(seal, max_age=math.inf, now=as_of)
            return self._without_carnet(seal)
        carnet = self._signers.issued(unverified_carnet, CarnetClaims, now=now)
        self._check_issued(carnet)
        self._check_sealed_with(seal, carnet, digest(unverified_carnet.encode("ascii")))
        check_seal_time(seal, max_age=math.inf, now=as_of)
        check_life(carnet, now=now)
        check_acceptance(carnet, seal, expiry_lifted="expiry" in lift)
        if "revocation" not in lift:
            self._check_revocation(carnet, now=now)
        return VerifiedMessage(seal, carnet, carnet.principal, self._trust.key_set)

    def onward(self, unverified_carnet: str, unverified_seal: str, *, now: float) -> CarnetClaims:
        """Verify the carnet that a receiver wants to take a hop further, with the seal it came by.

        For the issuer; `audience` is the receiver that asks. The seal shows that the carnet's own
        client sent it there: one that was only seen on its way is worth nothing. There is no
        leeway after its `exp`: what is derived then would be born dead.

        Raises:
            RefusalError, TrustUnavailableError: as `command`.
        """
        seal = self._signers.sealed(unverified_seal, now=now)
        if seal.k not in {"cmd", "req"} or seal.aud != self._audience:
            refuse_mismatch("not the seal of a command or a request to this receiver")
        self._check_publishes(seal)
        carnet = self._signers.issued(unverified_carnet, CarnetClaims, now=now)
        self._check_issued(carnet)
        self._check_sealed_with(seal, carnet, digest(unverified_carnet.encode("ascii")))
        check_seal_time(seal, max_age=math.inf, now=now)
        check_life(carnet, now=now)
        check_acceptance(carnet, seal, expiry_lifted=False)
        if carnet.exp <= int(now):
            raise ExpiredTokenError(Code.EXPIRED, "the carnet is expired")
        self._check_revocation(carnet, now=now)
        return carnet

    def _issued(self, unverified_token: str, kind: type[Issued], *, now: float) -> Issued:
        claims = self._signers.issued(unverified_token, kind, now=now)
        self._check_issued(claims)
        check_life(claims, now=now)
        if now > claims.exp + LEEWAY:
            raise ExpiredTokenError(Code.EXPIRED, "the token is expired")
        self._check_revocation(claims, now=now)
        return claims

    # Checks 1 to 9: is it genuine, and of this very message?

    def _open(
        self, message: UnverifiedMessage, route: Route, policy: Policy, kind: Kind, *, now: float
    ) -> Opened:
        if not policy.needs_carnet:
            genuine = self._authenticate_without_carnet(message, route, kind, now=now)
            return Opened.genuine(genuine, message, route, policy)
        unverified_carnet = bearer_token(only_header(message, AUTHORIZATION))  # 1
        unverified_seal = only_header(message, CARNET_SEAL)
        carnet = self._signers.reading(unverified_carnet, CarnetClaims)
        seal = self._signers.reading(unverified_seal, SealClaims)
        unread: tuple[Reading[Any], ...] = (seal,) if carnet.recall(now) else (carnet, seal)
        for token in unread:
            token.take_apart()  # 2
        for token in unread:
            token.read_header()  # 3
        for token in unread:
            token.check_algorithm()  # 4
        for token in unread:
            token.find_key(now)  # 5
        read = partial(self._read, message, route, kind, _Tokens(carnet, seal, unread))
        return Opened(message, route, policy, seal.key_set, unread, read)

    def _read(
        self, message: UnverifiedMessage, route: Route, kind: Kind, tokens: _Tokens
    ) -> VerifiedMessage:
        """Checks 7 to 9 of what has passed 1 to 6."""
        carnet, seal, unread = tokens
        for token in unread:
            token.read_claims()  # 7
        for token in unread:
            token.check_signer()
        self._check_issued(carnet.claims)  # 8
        self._check_sealed_with(seal.claims, carnet.claims, carnet.fingerprint)  # 9
        self._check_publishes(seal.claims)
        check_binding(seal.claims, message, route, kind, audience=self._audience)
        return VerifiedMessage(seal.claims, carnet.claims, carnet.claims.principal, seal.key_set)

    def _authenticate_without_carnet(
        self, message: UnverifiedMessage, route: Route, kind: Kind, *, now: float
    ) -> VerifiedMessage:
        seal = self._signers.sealed(only_header(message, CARNET_SEAL), now=now)
        if seal.ath is not None or header_values(message, AUTHORIZATION):
            refuse_mismatch("a carnet where none is wanted")
        self._check_publishes(seal)
        check_binding(seal, message, route, kind, audience=self._audience)
        return self._without_carnet(seal)

    def _authenticate_released(
        self, message: UnverifiedMessage, route: Route, policy: Policy, *, now: float
    ) -> VerifiedMessage:
        """A release in the place of the carnet, which need not be verifiable any more.

        The header is under no seal: whoever adds one that is no good makes nobody's message a
        refused one, since a refusal here is of no known message.
        """
        unverified_seal = only_header(message, CARNET_SEAL)  # 1
        seal = self._signers.sealed(unverified_seal, now=now)  # 2 to 7
        release = self._release(message, now=now)  # 2 to 8, in the place of the carnet
        if release.seal != digest(unverified_seal.encode("ascii")):  # 9
            raise UntrustedTokenError(Code.RELEASE_REFUSED, "the release of another message")
        if policy.needs_carnet:
            unverified_carnet = bearer_token(only_header(message, AUTHORIZATION))
            split_token(unverified_carnet)
            self._check_sealed_with(seal, release, digest(unverified_carnet.encode("ascii")))
        elif seal.ath is not None or header_values(message, AUTHORIZATION):
            refuse_mismatch("a carnet where none is wanted")
        self._check_publishes(seal)
        check_binding(seal, message, route, "cmd", audience=self._audience)
        principal = release.principal if policy.needs_carnet else None
        return VerifiedMessage(seal, None, principal, self._trust.key_set, release)

    def _without_carnet(self, seal: SealClaims) -> VerifiedMessage:
        return VerifiedMessage(seal, carnet=None, principal=None, key_set=self._trust.key_set)

    def _release(self, message: UnverifiedMessage, *, now: float) -> ReleaseClaims:
        try:
            unverified_release = only_header(message, CARNET_RELEASE)
            release = self._signers.issued(unverified_release, ReleaseClaims, now=now)
            self._check_issued(release)
        except RefusalError as error:
            detail = f"the release: {error.code}: {error.detail}"
            raise MalformedTokenError(Code.RELEASE_REFUSED, detail) from error
        return release

    def _check_issued(self, claims: CarnetClaims | AccessClaims) -> None:
        """Equal, never 'contains', never optional (RFC 8725 §3.8, §3.9)."""
        if claims.iss != self._trust.key_set.issuer:
            raise UntrustedTokenError(Code.WRONG_ISSUER, "iss is not our issuer")
        if claims.aud != self._audience:
            raise UntrustedTokenError(Code.WRONG_AUDIENCE, f"aud is not {self._audience}")

    def _check_sealed_with(self, seal: SealClaims, carnet: CarnetClaims, ath: str) -> None:
        """By the carnet's one client, and with this very carnet, whose hash is `ath`."""
        if seal.iss != sealing_client(carnet):
            raise UntrustedTokenError(Code.WRONG_CLIENT, "not sealed by the carnet's own client")
        if seal.ath != ath:
            refuse_mismatch("sealed with another carnet")

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
        if genuine.release is not None:  # whose own end makes nobody's message a refused one
            check_release_time(genuine.release, now=now)
        try:
            self._check_admission(genuine, policy, expiry, now=now)
        except RefusalError as refusal:
            raise refusal.of(genuine) from refusal.__cause__

    def _check_admission(
        self, genuine: VerifiedMessage, policy: Policy, expiry: Expiry, *, now: float
    ) -> None:
        if genuine.release is not None:
            self._admit_released(genuine, genuine.release, policy, expiry, now=now)
            return
        check_seal_time(genuine.seal, max_age=expiry.max_age.total_seconds(), now=now)  # 10
        carnet = genuine.carnet
        if carnet is None:
            self._trust.require_fresh(now)  # its client may have been withdrawn meanwhile
            return
        check_life(carnet, now=now)
        check_acceptance(carnet, genuine.seal, expiry_lifted=False)
        if expiry.carnet_judged_now and now > carnet.exp + LEEWAY:
            raise ExpiredTokenError(Code.EXPIRED, "the carnet is expired")
        self._check_revocation(carnet, now=now)  # 11
        self._check_scope(carnet, policy)  # 12

    def _admit_released(
        self,
        genuine: VerifiedMessage,
        release: ReleaseClaims,
        policy: Policy,
        expiry: Expiry,
        *,
        now: float,
    ) -> None:
        """The carnet's own times were the issuer's to judge, and what is lifted counts no more."""
        if release.what == "discard":
            return  # nothing will be done
        as_of = min(now, genuine.seal.exp) if "age" in release.lift else now
        check_seal_time(genuine.seal, max_age=expiry.max_age.total_seconds(), now=as_of)  # 10
        if expiry.carnet_judged_now and "expiry" not in release.lift:
            raise ExpiredTokenError(Code.EXPIRED, "the release does not lift the carnet's expiry")
        if "revocation" in release.lift:  # 11
            self._trust.require_fresh(now)
        else:
            self._check_revocation(release, now=now)
        self._check_scope(release, policy)  # 12

    def _check_scope(self, carnet: CarnetClaims, policy: Policy) -> None:
        if not policy.scopes <= carnet.scopes:
            wanted = " ".join(sorted(policy.scopes - carnet.scopes))
            raise ForbiddenError(Code.INSUFFICIENT_SCOPE, f"the carnet lacks: {wanted}")

    def _check_revocation(self, claims: CarnetClaims | AccessClaims, *, now: float) -> None:
        self._trust.require_fresh(now)
        self._trust.revocations.check(session=claims.sid, subject=claims.sub, epoch=claims.epoch)
        if not named_clients(claims) <= self._trust.key_set.clients.keys():
            raise RevokedTokenError(Code.REVOKED, "its client was withdrawn by the trust root")
