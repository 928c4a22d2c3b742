"""The requests that the user service answers for OAuth clients: sign-in, codes, devices.

All of them travel encrypted, both ways: they carry passwords, codes and tokens.
"""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from auth.claims import PublicClientId
from auth.verifier import Route
from messaging.contract import Request
from services.contracts.topology import USERS_RPC
from services.contracts.users import Origin, Password, Token, Tokens

RedirectUri = Annotated[str, Field(max_length=500)]
Challenge = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{43}$",
        description="Base64url SHA-256 of the code verifier: `S256`, and no other method.",
    ),
]
Verifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{43,128}$", description="RFC 7636 §4.1.")]
AskedScope = Annotated[str, Field(max_length=1000)]
AnyClientId = Annotated[str, Field(max_length=200)]
"""What somebody gives as a client id."""
LoginName = Annotated[str, Field(max_length=200)]
UserCode = Annotated[str, Field(max_length=40, description="As it was typed.")]


def _route(message_type: str) -> Route:
    return Route("carnet.rpc", USERS_RPC, message_type)


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class DescribedClient(_Reply):
    """A public client, and where its answers go."""

    client_id: str
    title: str = Field(description="What users are told that it is called.")
    redirect_uri: str
    scopes: tuple[str, ...] = Field(description="All that it may ask for.")


class DescribeClient(Request[DescribedClient]):
    """Whether answers may be sent to this address in this client's name.

    Refused: `unknown_client`, `invalid_redirect_uri`: then nobody is to be sent anywhere.
    """

    route: ClassVar[Route] = _route("users.client_described.v1")
    reply: ClassVar[type[DescribedClient]] = DescribedClient
    encrypted: ClassVar[bool] = True

    client_id: AnyClientId
    redirect_uri: RedirectUri | None = None


class Authorized(_Reply):
    """An authorization code, good for one use within a minute."""

    code: str


class Authorize(Request[Authorized]):
    """Sign a user in for a client, and give it a code (RFC 6749 §4.1, RFC 7636).

    Refused: `invalid_credentials`, and no other code of those that sign-in has; `invalid_scope`;
    `unknown_client`, `invalid_redirect_uri`.
    """

    route: ClassVar[Route] = _route("users.authorize.v1")
    reply: ClassVar[type[Authorized]] = Authorized
    encrypted: ClassVar[bool] = True

    client_id: PublicClientId
    redirect_uri: RedirectUri | None = None
    code_challenge: Challenge
    scope: AskedScope | None = None
    name: LoginName
    password: Password
    origin: Origin | None = None


class RedeemCode(Request[Tokens]):
    """Trade an authorization code for the tokens of its session.

    Refused: `invalid_client`; `invalid_grant` (unknown, expired, of another client, address or
    verifier, or used before, which ends the session).
    """

    route: ClassVar[Route] = _route("users.code.v1")
    reply: ClassVar[type[Tokens]] = Tokens
    encrypted: ClassVar[bool] = True

    client_id: AnyClientId
    code: Annotated[str, Field(max_length=200)]
    redirect_uri: RedirectUri | None = None
    code_verifier: Verifier


class DeviceStarted(_Reply):
    """The two codes of a device that wants to sign somebody in (RFC 8628 §3.2)."""

    device_code: str
    user_code: str
    expires_in: int
    interval: int


class StartDevice(Request[DeviceStarted]):
    """A device asks to be signed in on another one (RFC 8628).

    Refused: `invalid_client`, `unauthorized_client` (not a client for devices), `invalid_scope`,
    `too_many_attempts` (from this origin; later it is allowed again).
    """

    route: ClassVar[Route] = _route("users.device_start.v1")
    reply: ClassVar[type[DeviceStarted]] = DeviceStarted
    encrypted: ClassVar[bool] = True

    client_id: AnyClientId
    scope: AskedScope | None = None
    origin: Origin | None = None


class DescribedDevice(_Reply):
    """What a device that waits for its user asks for."""

    user_code: str = Field(description="In the one form that it is shown in.")
    client_id: str
    title: str
    scopes: tuple[str, ...]


class DescribeDevice(Request[DescribedDevice]):
    """What the device with this user code asks for.

    Refused: `unknown_user_code`: also where there were too many wrong ones from this origin.
    """

    route: ClassVar[Route] = _route("users.device_described.v1")
    reply: ClassVar[type[DescribedDevice]] = DescribedDevice
    encrypted: ClassVar[bool] = True

    user_code: UserCode
    origin: Origin | None = None


class DeviceDecided(_Reply):
    """The device is told when it asks next."""

    title: str


class AllowDevice(Request[DeviceDecided]):
    """Sign a user in on the device that shows this user code.

    Refused: `unknown_user_code`, `invalid_credentials`, `invalid_scope`.
    """

    route: ClassVar[Route] = _route("users.device_allow.v1")
    reply: ClassVar[type[DeviceDecided]] = DeviceDecided
    encrypted: ClassVar[bool] = True

    user_code: UserCode
    name: LoginName
    password: Password
    origin: Origin | None = None


class DenyDevice(Request[DeviceDecided]):
    """Have the device that shows this user code wait no longer.

    Refused: `unknown_user_code`.
    """

    route: ClassVar[Route] = _route("users.device_deny.v1")
    reply: ClassVar[type[DeviceDecided]] = DeviceDecided
    encrypted: ClassVar[bool] = True

    user_code: UserCode
    origin: Origin | None = None


class RedeemDevice(Request[Tokens]):
    """Trade a device code for the tokens of its session, once its user has allowed it.

    Refused: `authorization_pending`, `slow_down`, `access_denied`, `expired_token` (RFC 8628
    §3.5); `invalid_client`; `invalid_grant` (unknown, of another client, or used before, which
    ends the session).
    """

    route: ClassVar[Route] = _route("users.device.v1")
    reply: ClassVar[type[Tokens]] = Tokens
    encrypted: ClassVar[bool] = True

    client_id: AnyClientId
    device_code: Annotated[str, Field(max_length=200)]


class DescribedSession(_Reply):
    """A session, and whose it is."""

    sid: str
    sub: str
    name: str
    roles: tuple[str, ...]
    client_id: str
    scope: str = Field(description="What its access token may do now.")
    since: int = Field(description="When it was opened: seconds since the epoch.")


class DescribeSession(Request[DescribedSession]):
    """Whose session an access token belongs to.

    Refused: `invalid_grant`.
    """

    route: ClassVar[Route] = _route("users.session_described.v1")
    reply: ClassVar[type[DescribedSession]] = DescribedSession
    encrypted: ClassVar[bool] = True

    access_token: Token
