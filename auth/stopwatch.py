"""Times a verification, check by check: the verifier itself, with a watch in it.

It costs what a verification costs, and is for messages whose sender wants to see them travel
(`messaging.journeys`). Nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Callable

from auth.errors import Check
from auth.keys import Signature
from auth.message import Route, UnverifiedMessage, VerifiedMessage
from auth.policy import Expiry, Policy
from auth.seal import SealClaims
from auth.signers import Read, Reading, Signers
from auth.tokens import AccessClaims, CarnetClaims
from auth.trust import TrustSource
from auth.verifier import Verifier


class Stopwatch:
    """How long was spent in each check, in seconds. `timer` is monotonic."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self.seconds: dict[Check, float] = {}
        self._timer = timer
        self._check: Check | None = None
        self._since = 0.0

    def enter(self, check: Check | None) -> None:
        """From now on the time is this check's; with None, nobody's."""
        now = self._timer()
        if self._check is not None:
            spent = self.seconds.get(self._check, 0.0)
            self.seconds[self._check] = spent + now - self._since
        self._check, self._since = check, now


class TimedVerifier(Verifier):
    """Judges as every verifier does, and tells its watch which check it is at.

    It remembers no tokens, so each check is made in full.
    """

    def __init__(self, trust: TrustSource, *, audience: str, watch: Stopwatch) -> None:
        super().__init__(trust, audience=audience)
        self._signers = _TimedSigners(trust, watch)
        self._watch = watch

    def command(
        self,
        message: UnverifiedMessage,
        route: Route,
        policy: Policy,
        expiry: Expiry,
        *,
        now: float,
    ) -> VerifiedMessage:
        """As `Verifier.command`."""
        self._watch.enter(Check.PRESENCE)
        try:
            return super().command(message, route, policy, expiry, now=now)
        finally:
            self._watch.enter(None)

    def _check_issued(self, claims: CarnetClaims | AccessClaims) -> None:
        self._watch.enter(Check.AUDIENCE)
        super()._check_issued(claims)

    def _check_sealed_with(self, seal: SealClaims, carnet: CarnetClaims, ath: str) -> None:
        self._watch.enter(Check.SEAL)
        super()._check_sealed_with(seal, carnet, ath)

    def _check_admission(
        self, genuine: VerifiedMessage, policy: Policy, expiry: Expiry, *, now: float
    ) -> None:
        self._watch.enter(Check.TIME)
        super()._check_admission(genuine, policy, expiry, now=now)

    def _check_revocation(self, claims: CarnetClaims | AccessClaims, *, now: float) -> None:
        self._watch.enter(Check.REVOCATION)
        super()._check_revocation(claims, now=now)

    def _check_scope(self, carnet: CarnetClaims, policy: Policy) -> None:
        self._watch.enter(Check.SCOPE)
        super()._check_scope(carnet, policy)


class _TimedSigners(Signers):
    def __init__(self, trust: TrustSource, watch: Stopwatch) -> None:
        super().__init__(trust)
        self.watch = watch

    def reading(self, unverified_token: str, kind: type[Read]) -> Reading[Read]:
        return _TimedReading(unverified_token, kind, self)


class _TimedReading(Reading[Read]):
    _signers: _TimedSigners

    @property
    def _watch(self) -> Stopwatch:
        return self._signers.watch

    def take_apart(self) -> None:
        self._watch.enter(Check.FORM)
        super().take_apart()

    def read_header(self) -> None:
        self._watch.enter(Check.HEADER)
        super().read_header()

    def check_algorithm(self) -> None:
        self._watch.enter(Check.ALGORITHM)
        super().check_algorithm()

    def find_key(self, now: float) -> None:
        self._watch.enter(Check.KEY)
        super().find_key(now)

    @property
    def signature(self) -> Signature:
        # What is asked for here is checked next.
        self._watch.enter(Check.SIGNATURE)
        return super().signature

    def read_claims(self) -> None:
        self._watch.enter(Check.CLAIMS)
        super().read_claims()

    def check_signer(self) -> None:
        self._watch.enter(Check.KEY)
        super().check_signer()
