"""What the user service does."""

from auth.policy import public
from messaging.rpc import RpcServer
from services.contracts import users
from services.contracts.topology import USERS_RPC
from services.users.handlers import Handlers


def user_service(handlers: Handlers) -> RpcServer:
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
    service.answers(users.ReleaseLetter, public())(handlers.release_letter)
    service.answers(users.DiscardLetter, public())(handlers.discard_letter)
    service.answers(users.GetKeySet, public())(handlers.key_set)
    service.answers(users.GetRevocations, public())(handlers.revocations)
    return service
