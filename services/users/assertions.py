"""Client assertions, each good for one use."""

from collections.abc import Callable, Collection

from sqlalchemy import delete

from auth.assertion import AssertionClaims, verify_assertion
from auth.claims import LEEWAY, service_subject
from auth.errors import Code, RefusalError
from auth.trust import TrustSource
from messaging.database import Database
from messaging.rpc import Refused
from services.users.acts import Act, insert_new
from services.users.store import SpentAssertion


class Assertions:
    def __init__(self, trust: TrustSource, database: Database, clock: Callable[[], float]) -> None:
        self._trust = trust
        self._database = database
        self._clock = clock

    async def spend(
        self, act: Act, unverified_assertion: str, *, audiences: Collection[str]
    ) -> str:
        """The client that the assertion proves; the same one proves nothing again.

        audiences: what the issuer is called, besides its name.

        Raises:
            Refused: `invalid_client`.
            TrustUnavailableError: nothing can be judged now.
        """
        return await self._spend(act, self._verify(act, unverified_assertion, audiences))

    async def spend_for(self, act: Act, unverified_assertion: str, *, audience: str) -> str:
        """As `spend`, where the assertion is made out to `audience` and not to the issuer.

        Raises:
            Refused, TrustUnavailableError: as `spend`.
        """
        claims = self._verify(act, unverified_assertion, {audience})
        if claims.aud != audience:
            act.entry.why = Code.WRONG_AUDIENCE
            raise Refused("invalid_client", f"the assertion is refused: {Code.WRONG_AUDIENCE}")
        return await self._spend(act, claims)

    def _verify(
        self, act: Act, unverified_assertion: str, audiences: Collection[str]
    ) -> AssertionClaims:
        now = self._clock()
        self._trust.require_fresh(now)
        try:
            return verify_assertion(
                unverified_assertion, self._trust.key_set, audiences=audiences, now=now
            )
        except RefusalError as error:
            act.entry.why = error.code
            raise Refused("invalid_client", f"the assertion is refused: {error.code}") from error

    async def _spend(self, act: Act, claims: AssertionClaims) -> str:
        act.entry.who = service_subject(claims.iss)
        if not await insert_new(
            act.work,
            SpentAssertion,
            client_id=claims.iss,
            jti=claims.jti,
            expires_at=claims.exp + LEEWAY,
        ):
            act.entry.why = "used_before"
            raise Refused("invalid_client", "the assertion was used before")
        return claims.iss

    async def prune(self) -> None:
        """Forget the assertions that are expired by more than the leeway."""
        async with self._database.transaction() as work:
            # One second of care: verification compares fractions, this column has none.
            expired = SpentAssertion.expires_at < int(self._clock()) - 1
            await work.execute(delete(SpentAssertion).where(expired))
