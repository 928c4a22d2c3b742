"""What the user service does when it is asked. Every refusal is a `Refused` with its code."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from auth.claims import join_scope, service_subject
from auth.tokens import MAX_ACCESS_LIFE, Issuer
from auth.trust import TrustSource
from messaging.rpc import Caller, Refused
from services.contracts.authorization import (
    AllowDevice,
    Authorize,
    Authorized,
    DenyDevice,
    DescribeClient,
    DescribedClient,
    DescribedDevice,
    DescribeDevice,
    DescribedSession,
    DescribeSession,
    DeviceDecided,
    DeviceStarted,
    RedeemCode,
    RedeemDevice,
    StartDevice,
)
from services.contracts.scopes import CUSTOMER
from services.contracts.topology import GATEWAY
from services.contracts.users import (
    ClientCredentials,
    Discarded,
    DiscardLetter,
    Exchange,
    Exchanged,
    GetKeySet,
    GetRevocations,
    Introspect,
    Introspection,
    KeySetStatement,
    Refresh,
    Register,
    Registered,
    Released,
    ReleaseLetter,
    RevocationsPage,
    RevokeToken,
    SignedOut,
    SignIn,
    SignOut,
    TokenRevoked,
    Tokens,
)
from services.users.accounts import Accounts
from services.users.acts import Acts, Asker
from services.users.assertions import Assertions
from services.users.audit import What
from services.users.clients import Clients
from services.users.codes import Codes
from services.users.devices import Devices
from services.users.exchange import TokenExchange
from services.users.presented import Presented
from services.users.releases import Releases
from services.users.scope import asked_scope
from services.users.sessions import Ended, Opened, Sessions, UnknownSessionError
from services.users.sign_in import SignIns
from services.users.signing import IssuerKeys
from services.users.statements import Statements
from services.users.tokens import TokenDesk


@dataclass(frozen=True, slots=True)
class Handlers:
    """The requests' answers, over the parts that they need."""

    trust: TrustSource
    keys: IssuerKeys
    acts: Acts
    accounts: Accounts
    sign_ins: SignIns
    clients: Clients
    codes: Codes
    devices: Devices
    sessions: Sessions
    presented: Presented
    exchange: TokenExchange
    assertions: Assertions
    desk: TokenDesk
    statements: Statements
    releases: Releases
    clock: Callable[[], float]

    async def register(self, request: Register, caller: Caller) -> Registered:
        account = await self.accounts.add(
            Asker.of(caller), request.name, request.password, [CUSTOMER], origin=request.origin
        )
        return Registered(sub=account.sub, name=account.name, roles=tuple(account.roles))

    async def sign_in(self, request: SignIn, caller: Caller) -> Tokens:
        issuer = await self.keys.issuer()
        opened = await self.sign_ins.open(Asker.of(caller), request, caller.client)
        return self._tokens(issuer, opened)

    async def refresh(self, request: Refresh, caller: Caller) -> Tokens:
        issuer = await self.keys.issuer()
        async with self.acts.of(Asker.of(caller), What.REFRESH) as act:
            client_id = caller.client
            if request.client_id is not None:
                client_id = (await self.clients.need(act.work, request.client_id)).client_id
            opened = await self.sessions.refresh(
                act, request.refresh_token, client_id, request.scope
            )
            if opened is None:
                raise Refused("invalid_grant", "the refresh token is not valid, or no longer")
            act.entry.who = opened.session.sub
        return self._tokens(issuer, opened)

    async def describe_client(self, request: DescribeClient, _caller: Caller) -> DescribedClient:
        return await self.codes.describe(request)

    async def authorize(self, request: Authorize, caller: Caller) -> Authorized:
        return Authorized(code=await self.codes.make(Asker.of(caller), request))

    async def redeem_code(self, request: RedeemCode, caller: Caller) -> Tokens:
        issuer = await self.keys.issuer()
        return self._tokens(issuer, await self.codes.redeem(Asker.of(caller), request))

    async def start_device(self, request: StartDevice, _caller: Caller) -> DeviceStarted:
        return await self.devices.start(request)

    async def describe_device(self, request: DescribeDevice, _caller: Caller) -> DescribedDevice:
        return await self.devices.describe(request)

    async def allow_device(self, request: AllowDevice, caller: Caller) -> DeviceDecided:
        return DeviceDecided(title=await self.devices.allow(Asker.of(caller), request))

    async def deny_device(self, request: DenyDevice, caller: Caller) -> DeviceDecided:
        return DeviceDecided(title=await self.devices.deny(Asker.of(caller), request))

    async def redeem_device(self, request: RedeemDevice, caller: Caller) -> Tokens:
        issuer = await self.keys.issuer()
        return self._tokens(issuer, await self.devices.redeem(Asker.of(caller), request))

    async def describe_session(self, request: DescribeSession, caller: Caller) -> DescribedSession:
        access = self.presented.signed_in(request.access_token, caller.client)
        return await self.sessions.describe(access)

    async def client_credentials(self, request: ClientCredentials, caller: Caller) -> Tokens:
        issuer = await self.keys.issuer()
        async with self.acts.of(Asker.of(caller), What.CLIENT_CREDENTIALS) as act:
            client_id = await self.assertions.spend(
                act,
                request.client_assertion,
                caller=caller.client,
                audiences=request.audiences,
            )
            scopes = asked_scope(request.scope, self.trust.key_set.clients[client_id].scopes)
            if not scopes:
                raise Refused("invalid_scope", "this client may ask for nothing for itself")
            act.entry.why = join_scope(scopes)
        token = issuer.access_token(
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
        return await self.exchange.carnet(Asker.of(caller), request, caller.client)

    async def sign_out(self, request: SignOut, caller: Caller) -> SignedOut:
        async with self.acts.of(Asker.of(caller), What.SIGN_OUT) as act:
            access = self.presented.signed_in(request.access_token, caller.client)
            act.entry.who = access.sub
            if access.sid is None:
                raise Refused("invalid_grant", "this access token belongs to no session")
            with suppress(UnknownSessionError):  # it is past its life, and forgotten
                await self.sessions.end(act, access.sid, Ended.SIGNED_OUT)
        return SignedOut(sid=access.sid)

    async def revoke_token(self, request: RevokeToken, caller: Caller) -> TokenRevoked:
        return await self.desk.revoke(Asker.of(caller), request, caller.client)

    async def introspect(self, request: Introspect, caller: Caller) -> Introspection:
        return await self.desk.introspect(Asker.of(caller), request, caller.client)

    async def release_letter(self, request: ReleaseLetter, caller: Caller) -> Released:
        return await self.releases.release(Asker.of(caller), request, caller.client)

    async def discard_letter(self, request: DiscardLetter, caller: Caller) -> Discarded:
        return await self.releases.discard(Asker.of(caller), request, caller.client)

    async def key_set(self, _request: GetKeySet, _caller: Caller) -> KeySetStatement:
        return KeySetStatement(statement=self.trust.key_set.statement)

    async def revocations(self, request: GetRevocations, _caller: Caller) -> RevocationsPage:
        return RevocationsPage(snapshot=await self.statements.snapshot(request.after))

    def _tokens(self, issuer: Issuer, opened: Opened) -> Tokens:
        session = opened.session
        token = issuer.access_token(
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
