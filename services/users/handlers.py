"""What the user service does when it is asked. Every refusal is a `Refused` with its code."""

from collections.abc import Callable
from dataclasses import dataclass

from auth.claims import join_scope, service_subject
from auth.tokens import MAX_ACCESS_LIFE, Issuer
from auth.trust import TrustSource
from messaging.rpc import Caller, Refused
from services.contracts.scopes import CUSTOMER
from services.contracts.topology import GATEWAY
from services.contracts.users import (
    ClientCredentials,
    Exchange,
    Exchanged,
    GetKeySet,
    KeySetStatement,
    Refresh,
    Register,
    Registered,
    SignedOut,
    SignIn,
    SignOut,
    Tokens,
)
from services.users.accounts import Accounts
from services.users.assertions import Assertions
from services.users.exchange import TokenExchange
from services.users.scope import asked_scope
from services.users.sessions import Ended, Opened, Sessions


@dataclass(frozen=True, slots=True)
class Handlers:
    """The requests' answers, over the parts that they need."""

    trust: TrustSource
    issuer: Issuer
    accounts: Accounts
    sessions: Sessions
    exchange: TokenExchange
    assertions: Assertions
    clock: Callable[[], float]

    async def register(self, request: Register, _caller: Caller) -> Registered:
        account = await self.accounts.add(request.name, request.password, [CUSTOMER])
        return Registered(sub=account.sub, name=account.name, roles=tuple(account.roles))

    async def sign_in(self, request: SignIn, caller: Caller) -> Tokens:
        account = await self.accounts.authenticate(request.name, request.password)
        opened = None if account is None else await self.sessions.open(account, caller.client)
        if opened is None:
            raise Refused("invalid_credentials", "name or password is wrong")
        return self._tokens(opened)

    async def refresh(self, request: Refresh, caller: Caller) -> Tokens:
        opened = await self.sessions.refresh(request.refresh_token, caller.client, request.scope)
        if opened is None:
            raise Refused("invalid_grant", "the refresh token is not valid, or no longer")
        return self._tokens(opened)

    async def client_credentials(self, request: ClientCredentials, _caller: Caller) -> Tokens:
        client_id = await self.assertions.spend(request.client_assertion)
        scopes = asked_scope(request.scope, self.trust.key_set.clients[client_id].scopes)
        if not scopes:
            raise Refused("invalid_scope", "this client may ask for nothing for itself")
        token = self.issuer.access_token(
            subject=service_subject(client_id),
            audience=GATEWAY,
            client_id=client_id,
            scopes=scopes,
            session=None,
            epoch=0,
            auth_time=None,
            now=self.clock(),
        )
        return Tokens(access_token=token, expires_in=MAX_ACCESS_LIFE, scope=join_scope(scopes))

    async def exchange_token(self, request: Exchange, caller: Caller) -> Exchanged:
        return await self.exchange.carnet(request, caller.client)

    async def sign_out(self, request: SignOut, caller: Caller) -> SignedOut:
        access = self.exchange.verify(request.access_token, caller.client, now=self.clock())
        if access.sid is None:
            raise Refused("invalid_grant", "this access token belongs to no session")
        await self.sessions.end(access.sid, Ended.SIGNED_OUT)
        return SignedOut(sid=access.sid)

    async def key_set(self, _request: GetKeySet, _caller: Caller) -> KeySetStatement:
        return KeySetStatement(statement=self.trust.key_set.statement)

    def _tokens(self, opened: Opened) -> Tokens:
        session = opened.session
        token = self.issuer.access_token(
            subject=session.sub,
            audience=GATEWAY,
            client_id=session.client_id,
            scopes=opened.scopes,
            session=session.sid,
            epoch=session.epoch,
            auth_time=session.created_at,
            now=self.clock(),
        )
        return Tokens(
            access_token=token,
            expires_in=MAX_ACCESS_LIFE,
            scope=join_scope(opened.scopes),
            refresh_token=opened.refresh_token,
        )
