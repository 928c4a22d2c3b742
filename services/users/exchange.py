"""Token exchange: a token for a carnet that is never more than it (RFC 8693).

The token is an access token, or a carnet whose receiver takes its work a hop further.
"""

from collections.abc import Callable

from auth.claims import join_scope, service_subject
from auth.tokens import MAX_ACTORS, MAX_CARNET_LIFE, AccessClaims, CarnetClaims
from auth.trust import TrustSource
from messaging.rpc import Refused
from services.contracts.users import Exchange, Exchanged
from services.users.acts import Act, Acts, Asker
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
            Refused: `invalid_target`, `invalid_grant`, `not_yet`, `invalid_scope`,
                `invalid_client`, `invalid_request`, `chain_too_long`.
            TrustUnavailableError: nothing can be judged or signed now.
        """
        issuer = await self._keys.issuer()
        async with self._acts.of(asker, What.EXCHANGE) as act:
            if request.client_assertion is not None:
                client_id = await self._proven(act, request, client_id)
            act.entry.why = f"for {request.audience}"
            if request.audience not in self._trust.key_set.clients[client_id].exchanges:
                raise Refused("invalid_target", "this client may not ask for this audience")
            parent = self._parent(request, client_id)
            act.entry.who, act.entry.session = parent.sub, parent.sid
            if isinstance(parent, CarnetClaims):
                act.entry.why += f", through {' '.join(parent.actors) or parent.sub}"
            allowed = await self._presented.allowed(act.work, parent)
            scopes = asked_scope(request.scope, parent.scopes & allowed)
            act.entry.why += f": {join_scope(scopes)}"
            now = self._clock()
            own = isinstance(parent, AccessClaims) and parent.sub == service_subject(client_id)
            carnet = issuer.carnet(
                parent,
                actor=None if own else client_id,
                audience=request.audience,
                scopes=scopes,
                now=now,
            )
        return Exchanged(
            carnet=carnet,
            expires_in=min(MAX_CARNET_LIFE, parent.exp - int(now)),
            scope=join_scope(scopes),
        )

    async def _proven(self, act: Act, request: Exchange, caller: str) -> str:
        """The client that the request's assertion proves.

        Raises:
            Refused: `invalid_request`: with a seal, which only the caller itself can have got.
            Refused: `invalid_client`.
        """
        if request.seal is not None:
            raise Refused("invalid_request", "a carnet is exchanged by its receiver itself")
        return await self._assertions.spend(
            act, request.client_assertion or "", caller=caller, audiences=request.audiences
        )

    def _parent(self, request: Exchange, client_id: str) -> AccessClaims | CarnetClaims:
        """What is traded, verified, and for this client to trade."""
        if request.seal is None:
            return self._presented.access_token(request.subject_token, client_id)
        carnet = self._presented.carnet(request.subject_token, request.seal, client_id)
        if len(carnet.actors) >= MAX_ACTORS:
            raise Refused("chain_too_long", f"{MAX_ACTORS} clients have acted for it already")
        return carnet
