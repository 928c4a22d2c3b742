"""Token exchange: an access token for a carnet that is never more than it (RFC 8693)."""

from collections.abc import Callable

from auth.claims import join_scope, service_subject
from auth.errors import RefusalError
from auth.tokens import MAX_CARNET_LIFE, AccessClaims, Issuer
from auth.trust import TrustSource
from auth.verifier import Verifier
from messaging.rpc import Refused
from services.contracts.topology import GATEWAY
from services.contracts.users import Exchange, Exchanged
from services.users.scope import asked_scope, scopes_of
from services.users.sessions import Sessions


class TokenExchange:
    def __init__(
        self, trust: TrustSource, issuer: Issuer, sessions: Sessions, clock: Callable[[], float]
    ) -> None:
        self._trust = trust
        self._issuer = issuer
        self._sessions = sessions
        self._clock = clock
        self._verifier = Verifier(trust, audience=GATEWAY)

    async def carnet(self, request: Exchange, client_id: str) -> Exchanged:
        """A carnet that only `client_id` can seal with, for one audience.

        Raises:
            Refused: `invalid_target`, `invalid_grant`, `invalid_scope`.
            TrustUnavailableError: nothing can be judged now.
        """
        if request.audience not in self._trust.key_set.clients[client_id].exchanges:
            raise Refused("invalid_target", "this client may not ask for this audience")
        now = self._clock()
        access = self.verify(request.subject_token, client_id, now=now)
        scopes = asked_scope(request.scope, access.scopes & await self.allowed(access))
        own = access.sub == service_subject(client_id)
        carnet = self._issuer.carnet(
            access,
            actor=None if own else client_id,
            audience=request.audience,
            scopes=scopes,
            now=now,
        )
        return Exchanged(
            carnet=carnet,
            expires_in=min(MAX_CARNET_LIFE, access.exp - int(now)),
            scope=join_scope(scopes),
        )

    def verify(self, unverified_token: str, client_id: str, *, now: float) -> AccessClaims:
        """The claims of an access token that `client_id` may present: its receiver or its owner.

        Raises:
            Refused: `invalid_grant`, also within the leeway after `exp`: what is derived now
                would be born dead.
        """
        try:
            access = self._verifier.access_token(unverified_token, now=now)
        except RefusalError as error:
            raise Refused("invalid_grant", f"the access token is refused: {error.code}") from error
        if client_id != access.aud and access.sub != service_subject(client_id):
            raise Refused("invalid_grant", "this access token is not for this client")
        if access.exp <= int(now):
            raise Refused("invalid_grant", "the access token is refused: expired")
        return access

    async def allowed(self, access: AccessClaims) -> frozenset[str]:
        """What the token's subject may do now: less, perhaps, than when the token was made.

        Raises:
            Refused: `invalid_grant`: the session has ended, the account changed, or the client
                is no longer listed.
        """
        if access.sid is None:
            client = self._trust.key_set.clients.get(access.client_id)
            if client is None or access.sub != service_subject(access.client_id):
                raise Refused("invalid_grant", "the client is not registered")
            return client.scopes
        account = await self._sessions.find_live(access.sid, access.sub, access.epoch)
        if account is None:
            raise Refused("invalid_grant", "the session has ended")
        return scopes_of(account)
