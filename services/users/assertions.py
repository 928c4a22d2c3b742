"""Client assertions, each good for one use."""

from collections.abc import Callable, Collection

from sqlalchemy import delete

from auth.assertion import AssertionClaims, verify_assertion
from auth.claims import LEEWAY, service_subject
from auth.errors import Code, RefusalError
from auth.trust import TrustSource
from messaging.database import Database
from messaging.rpc import Refused
from services.contracts.topology import GATEWAY
from services.users.acts import Act, insert_new
from services.users.store import SpentAssertion


class Assertions:
    def __init__(self, trust: TrustSource, database: Database, clock: Callable[[], float]) -> None:
        self._trust = trust
        self._database = database
        self._clock = clock

    async def spend(
        self, act: Act, unverified_assertion: str, *, caller: str, audiences: Collection[str]
    ) -> str:
        """The client that the assertion proves; the same one proves nothing again.

        caller: the client that sent it. The gateway relays those of others; everybody else proves
            itself alone, since an assertion lies open to whoever it was sent to.
        audiences: what the gateway calls the issuer, besides its name; nobody else has a say in it.

        Raises:
            Refused: `invalid_client`.
            TrustUnavailableError: nothing can be judged now.
        """
        relays = caller == GATEWAY
        try:
            claims = self._verify(unverified_assertion, audiences if relays else ())
        except RefusalError as error:
            act.entry.why = error.code
            raise _invalid_client(error.code) from error
        if not relays and claims.iss != caller:
            act.entry.why = f"of {claims.iss}"
            raise Refused("invalid_client", "the assertion is another client's than the caller")
        act.entry.who = service_subject(claims.iss)
        await self.use(act, claims)
        return claims.iss

    def proven(self, unverified_assertion: str, *, audience: str) -> AssertionClaims:
        """What the assertion proves, if it is made out to `audience` and not to the issuer.

        Raises:
            Refused: `invalid_client`.
            TrustUnavailableError: nothing can be judged now.
        """
        try:
            claims = self._verify(unverified_assertion, {audience})
        except RefusalError as error:
            raise _invalid_client(error.code) from error
        if claims.aud != audience:
            raise _invalid_client(Code.WRONG_AUDIENCE)
        return claims

    async def use(self, act: Act, proven: AssertionClaims) -> None:
        """Take the assertion, which proves nothing from then on.

        Raises:
            Refused: `invalid_client`: it was taken before.
        """
        if not await insert_new(
            act.work,
            SpentAssertion,
            client_id=proven.iss,
            jti=proven.jti,
            expires_at=proven.ends_at + LEEWAY,
        ):
            act.entry.why = "used_before"
            raise Refused("invalid_client", "the assertion was used before")

    def _verify(self, unverified_assertion: str, audiences: Collection[str]) -> AssertionClaims:
        now = self._clock()
        self._trust.require_fresh(now)
        return verify_assertion(
            unverified_assertion, self._trust.key_set, audiences=audiences, now=now
        )

    async def prune(self) -> None:
        """Forget the assertions that are expired by more than the leeway."""
        async with self._database.transaction() as work:
            # One second of care: verification compares fractions, this column has none.
            expired = SpentAssertion.expires_at < int(self._clock()) - 1
            await work.execute(delete(SpentAssertion).where(expired))


def _invalid_client(code: str) -> Refused:
    return Refused("invalid_client", f"the assertion is refused: {code}")
