"""Token exchange: an access token for a carnet that is never more than it (RFC 8693)."""

from collections.abc import Callable

from auth.claims import join_scope, service_subject
from auth.tokens import MAX_CARNET_LIFE
from auth.trust import TrustSource
from messaging.rpc import Refused
from services.contracts.users import Exchange, Exchanged
from services.users.acts import Acts, Asker
from services.users.assertions import Assertions
from services.users.audit import What
from services.users.presented import Presented
from services.users.scope import asked_scope
from services.users.signing import IssuerKeys


class TokenExchange:
    def __init__(
        self,
        *,
        trust: TrustSource,
        keys: IssuerKeys,
        presented: Presented,
        assertions: Assertions,
        acts: Acts,
        clock: Callable[[], float],
    ) -> None:
        self._trust = trust
        self._keys = keys
        self._presented = presented
        self._assertions = assertions
        self._acts = acts
        self._clock = clock

    async def carnet(self, asker: Asker, request: Exchange, client_id: str) -> Exchanged:
        """A carnet that only the client can seal with, for one audience.

        client_id: the caller, which asks for itself unless the request has an assertion.

        Raises:
            Refused: `invalid_target`, `invalid_grant`, `invalid_scope`, `invalid_client`.
            TrustUnavailableError: nothing can be judged or signed now.
        """
        issuer = await self._keys.issuer()
        async with self._acts.of(asker, What.EXCHANGE) as act:
            if request.client_assertion is not None:
                client_id = await self._assertions.spend(
                    act, request.client_assertion, audiences=request.audiences
                )
            act.entry.why = f"for {request.audience}"
            if request.audience not in self._trust.key_set.clients[client_id].exchanges:
                raise Refused("invalid_target", "this client may not ask for this audience")
            access = self._presented.access_token(request.subject_token, client_id)
            act.entry.who, act.entry.session = access.sub, access.sid
            allowed = await self._presented.allowed(act.work, access)
            scopes = asked_scope(request.scope, access.scopes & allowed)
            act.entry.why = f"for {request.audience}: {join_scope(scopes)}"
            now = self._clock()
            own = access.sub == service_subject(client_id)
            carnet = issuer.carnet(
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
