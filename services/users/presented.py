"""What a token that somebody shows is: verified, and what may be done with it now."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth import jws
from auth.claims import service_subject
from auth.errors import Code, RefusalError
from auth.strict import parse_json_object, parse_token
from auth.tokens import AccessClaims, CarnetClaims
from auth.trust import TrustSource
from auth.verifier import Verifier
from messaging.rpc import Refused
from services.contracts.topology import GATEWAY
from services.users.sessions import Sessions

NOT_YET: Final = "not_yet"
_PASSING: Final = frozenset({Code.NOT_YET_VALID, Code.UNKNOWN_KEY})
"""Why a carnet that its receiver has verified may be refused here for a moment: our clock is behind
theirs, or our statement older than the one that they have heard of."""


class Presented:
    def __init__(self, trust: TrustSource, sessions: Sessions, clock: Callable[[], float]) -> None:
        self._trust = trust
        self._sessions = sessions
        self._clock = clock
        self._verifier = Verifier(trust, audience=GATEWAY)

    def access_token(self, unverified_token: str, client_id: str) -> AccessClaims:
        """The claims of an access token that `client_id` may present: its receiver or its owner.

        Raises:
            Refused: `invalid_grant`, also within the leeway after `exp`: what is derived now
                would be born dead.
            TrustUnavailableError: nothing can be judged now.
        """
        access = self._verified(unverified_token)
        if client_id != access.aud and access.sub != service_subject(client_id):
            raise Refused("invalid_grant", "this access token is not for this client")
        return access

    def carnet(self, unverified_carnet: str, unverified_seal: str, client_id: str) -> CarnetClaims:
        """The claims of a carnet that was sent to `client_id`, by the seal that came with it.

        Raises:
            Refused: `invalid_grant`, or `not_yet`: asked again, it may be taken.
            TrustUnavailableError: nothing can be judged now.
        """
        verifier = Verifier(self._trust, audience=client_id)
        try:
            return verifier.onward(unverified_carnet, unverified_seal, now=self._clock())
        except RefusalError as error:
            code = NOT_YET if error.code in _PASSING else "invalid_grant"
            raise Refused(code, f"the carnet is refused: {error.code}") from error

    def signed_in(self, unverified_token: str, client_id: str) -> AccessClaims:
        """The claims of an access token that came to `client_id`, or was issued to it.

        Raises:
            Refused, TrustUnavailableError: as `access_token`.
        """
        access = self._verified(unverified_token)
        if client_id not in {access.aud, access.client_id}:
            raise Refused("invalid_grant", "this access token is not for this client")
        return access

    def _verified(self, unverified_token: str) -> AccessClaims:
        now = self._clock()
        try:
            access = self._verifier.access_token(unverified_token, now=now)
        except RefusalError as error:
            raise Refused("invalid_grant", f"the access token is refused: {error.code}") from error
        if access.exp <= int(now):
            raise Refused("invalid_grant", "the access token is refused: expired")
        return access

    def issued(self, unverified_token: str) -> AccessClaims | CarnetClaims | None:
        """The claims of an access token or carnet of ours, for whomever it is; None of no such.

        Raises:
            TrustUnavailableError: nothing can be judged now.
        """
        try:
            token = parse_token(unverified_token)
            unverified_claims = parse_json_object(token.unverified_payload)
            # Whom it says it is for is what it is judged by: so it proves to be for that one.
            verifier = Verifier(self._trust, audience=_text(unverified_claims.get("aud")))
            if token.unverified_header["typ"] == jws.CARNET:
                return verifier.carnet(unverified_token, now=self._clock())
            return verifier.access_token(unverified_token, now=self._clock())
        except (RefusalError, ValueError):
            return None

    async def allowed(
        self, work: AsyncSession, claims: AccessClaims | CarnetClaims
    ) -> frozenset[str]:
        """What the token's subject may do now: less, perhaps, than when the token was made.

        Raises:
            Refused: `invalid_grant`: the session has ended, the account changed, or the client
                is no longer listed.
        """
        if claims.sid is None:
            client_id = claims.sub.removeprefix(service_subject(""))
            if isinstance(claims, AccessClaims):
                client_id = claims.client_id
            client = self._trust.key_set.clients.get(client_id)
            if client is None or claims.sub != service_subject(client_id):
                raise Refused("invalid_grant", "the client is not registered")
            return client.scopes
        account = await self._sessions.find_live(work, claims.sid, claims.sub, claims.epoch)
        if account is None:
            raise Refused("invalid_grant", "the session has ended")
        return self._sessions.scopes_of(account)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
