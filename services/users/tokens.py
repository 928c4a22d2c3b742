"""Looking at tokens and ending them, for those who cannot or need not verify them themselves."""

from typing import Final

from auth.checks import sealing_client
from auth.claims import join_scope, service_subject
from auth.jws import members
from auth.tokens import AccessClaims, CarnetClaims
from messaging.database import Database
from messaging.rpc import Refused
from services.contracts.topology import GATEWAY
from services.contracts.users import Introspect, Introspection, RevokeToken, TokenRevoked
from services.users.acts import Act, Acts, Asker
from services.users.assertions import Assertions
from services.users.audit import What
from services.users.clients import Clients
from services.users.presented import Presented
from services.users.sessions import Ended, Sessions

DESCRIBED: Final = frozenset(
    {"exp", "iat", "sub", "aud", "iss", "jti", "sid", "scope", "client_id", "act"}
)
INACTIVE: Final = Introspection(active=False)


class TokenDesk:
    def __init__(
        self,
        *,
        database: Database,
        acts: Acts,
        assertions: Assertions,
        sessions: Sessions,
        presented: Presented,
        clients: Clients,
    ) -> None:
        self._clients = clients
        self._database = database
        self._acts = acts
        self._assertions = assertions
        self._sessions = sessions
        self._presented = presented

    async def introspect(self, asker: Asker, request: Introspect, client_id: str) -> Introspection:
        """What a token is now, as far as the client may know (RFC 7662 §2.2, §4).

        Raises:
            Refused: `invalid_client`.
            TrustUnavailableError: nothing can be judged now.
        """
        if request.client_assertion is not None:
            async with self._acts.of(asker, What.INTROSPECT) as act:
                client_id = await self._assertions.spend(
                    act,
                    request.client_assertion,
                    caller=client_id,
                    audiences=request.audiences,
                )
        claims = self._presented.issued(request.token)
        if claims is None:
            return await self._introspect_refresh_token(request.token, client_id)
        if client_id != GATEWAY and client_id not in _parties(claims):
            return INACTIVE
        try:
            async with self._database.session() as work:
                await self._presented.allowed(work, claims)
        except Refused:
            return INACTIVE
        described = members(claims, DESCRIBED)
        if isinstance(claims, AccessClaims):
            return Introspection(active=True, token_type="Bearer", **described)  # noqa: S106
        return Introspection(active=True, **described)

    async def revoke(self, asker: Asker, request: RevokeToken, client_id: str) -> TokenRevoked:
        """End the session that the token belongs to (RFC 7009 §2.1).

        Access and refresh tokens do it for the client that they were issued to, which shows them
        or proves itself. A carnet lies on the broker, where others read it: it does nothing but
        for the client that may seal with it and proves itself by an assertion.

        Raises:
            Refused: `unauthorized_client`, `unsupported_token_type`, `invalid_client`.
            TrustUnavailableError: nothing can be judged now.
        """
        caller = client_id
        async with self._acts.of(asker, What.REVOKE_TOKEN) as act:
            if request.client_id is not None:
                client_id = (await self._clients.need(act.work, request.client_id)).client_id
            if request.client_assertion is not None:
                client_id = await self._assertions.spend(
                    act,
                    request.client_assertion,
                    caller=caller,
                    audiences=request.audiences,
                )
            claims = self._presented.issued(request.token)
            if isinstance(claims, CarnetClaims) and request.client_assertion is None:
                act.entry.why = "unproven_carnet"
                return TokenRevoked()
            if claims is not None and claims.sid is None:
                raise Refused("unsupported_token_type", "this token belongs to no session")
            sid = await self._session_of(act, request.token) if claims is None else claims.sid
            session = None if sid is None else await self._sessions.find(act.work, sid)
            if session is None:
                act.entry.why = "unknown_token"
                return TokenRevoked()
            act.entry.whom, act.entry.session = session.sub, session.sid
            owner = session.client_id
            if isinstance(claims, CarnetClaims):
                owner = sealing_client(claims) or owner
            if client_id != owner:
                raise Refused("unauthorized_client", "the token was issued to another client")
            await self._sessions.end(act, session.sid, Ended.REVOKED)
        return TokenRevoked()

    async def _session_of(self, act: Act, unverified_token: str) -> str | None:
        found = await self._sessions.find_refreshable(act.work, unverified_token)
        return None if found is None else found.session.sid

    async def _introspect_refresh_token(
        self, unverified_token: str, client_id: str
    ) -> Introspection:
        async with self._database.session() as work:
            found = await self._sessions.find_refreshable(work, unverified_token)
        if found is None or not found.live:
            return INACTIVE
        if client_id not in {GATEWAY, found.session.client_id}:
            return INACTIVE
        return Introspection(
            active=True,
            scope=join_scope(found.scopes),
            client_id=found.session.client_id,
            sub=found.session.sub,
            sid=found.session.sid,
            exp=found.expires_at,
        )


def _parties(claims: AccessClaims | CarnetClaims) -> set[str]:
    """The clients that a token is for, or from, or that act by it."""
    own = claims.sub.removeprefix(service_subject(""))
    if isinstance(claims, AccessClaims):
        return {claims.aud, claims.client_id, own}
    return {claims.aud, *claims.actors, own}
