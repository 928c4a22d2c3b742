"""What the user service does."""

from auth.policy import public
from messaging.rpc import RpcServer
from services.contracts import authorization, users
from services.contracts.administration import (
    EndSession,
    EndSessions,
    FindAccounts,
    FindSessions,
    GetIssuerKeys,
    ReadAudit,
    RetireIssuerKey,
    RotateIssuerKey,
)
from services.contracts.topology import USERS_RPC
from services.users.administration import Administration
from services.users.handlers import Handlers


def user_service(handlers: Handlers, administration: Administration) -> RpcServer:
    """The service, ready to run. Who may ask for what stands in the key set statement."""
    service = RpcServer(USERS_RPC)
    service.answers(users.Register, public())(handlers.register)
    service.answers(users.SignIn, public())(handlers.sign_in)
    service.answers(users.Refresh, public())(handlers.refresh)
    service.answers(users.ClientCredentials, public())(handlers.client_credentials)
    service.answers(users.Exchange, public())(handlers.exchange_token)
    service.answers(users.SignOut, public())(handlers.sign_out)
    service.answers(users.RevokeToken, public())(handlers.revoke_token)
    service.answers(users.Introspect, public())(handlers.introspect)
    service.answers(authorization.DescribeClient, public())(handlers.describe_client)
    service.answers(authorization.Authorize, public())(handlers.authorize)
    service.answers(authorization.RedeemCode, public())(handlers.redeem_code)
    service.answers(authorization.StartDevice, public())(handlers.start_device)
    service.answers(authorization.DescribeDevice, public())(handlers.describe_device)
    service.answers(authorization.AllowDevice, public())(handlers.allow_device)
    service.answers(authorization.DenyDevice, public())(handlers.deny_device)
    service.answers(authorization.RedeemDevice, public())(handlers.redeem_device)
    service.answers(authorization.DescribeSession, public())(handlers.describe_session)
    service.answers(users.ReleaseLetter, public())(handlers.release_letter)
    service.answers(users.DiscardLetter, public())(handlers.discard_letter)
    service.answers(FindAccounts, public())(administration.find_accounts)
    service.answers(FindSessions, public())(administration.find_sessions)
    service.answers(EndSession, public())(administration.end_session)
    service.answers(EndSessions, public())(administration.end_sessions)
    service.answers(GetIssuerKeys, public())(administration.issuer_keys)
    service.answers(RotateIssuerKey, public())(administration.rotate_key)
    service.answers(RetireIssuerKey, public())(administration.retire_key)
    service.answers(ReadAudit, public())(administration.read_audit)
    service.answers(users.GetKeySet, public())(handlers.key_set)
    service.answers(users.GetRevocations, public())(handlers.revocations)
    return service
