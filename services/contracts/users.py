"""The requests that the user service answers. Their bodies travel encrypted, both ways."""

from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from auth.verifier import Route
from messaging.contract import Request
from services.contracts.topology import USERS_RPC


def _route(message_type: str) -> Route:
    return Route("carnet.rpc", USERS_RPC, message_type)


MAX_PASSWORD: Final = 256
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{2,63}$"

Name = Annotated[
    str,
    Field(
        pattern=NAME_PATTERN,
        description="Login name: 3 to 64 lower-case letters, digits, dots, dashes.",
        examples=["ada"],
    ),
]
Password = Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD)]
NewPassword = Annotated[
    str,
    Field(
        min_length=12,
        max_length=MAX_PASSWORD,
        description="At least 12 characters (NIST SP 800-63B §3.1.1).",
        examples=["correct horse battery staple"],
    ),
]


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class Registered(_Reply):
    """The new account."""

    sub: str = Field(description="The account's subject, a UUID.")
    name: str
    roles: tuple[str, ...]


class Register(Request[Registered]):
    """Make an account with the role `customer`. Refused: `name_taken`."""

    route: ClassVar[Route] = _route("users.register.v1")
    reply: ClassVar[type[Registered]] = Registered
    encrypted: ClassVar[bool] = True

    name: Name
    password: NewPassword


class Tokens(_Reply):
    """An access token and, where there is a session to continue, its refresh token."""

    access_token: str
    expires_in: int = Field(description="Life of the access token, in seconds.")
    scope: str
    refresh_token: str | None = None


class SignIn(Request[Tokens]):
    """Open a session with name and password. Refused: `invalid_credentials`."""

    route: ClassVar[Route] = _route("users.issue.v1")
    reply: ClassVar[type[Tokens]] = Tokens
    encrypted: ClassVar[bool] = True

    name: Annotated[str, Field(max_length=200)]
    password: Password


class Refresh(Request[Tokens]):
    """Trade a refresh token for new tokens; the old one is spent.

    Refused: `invalid_grant` (unknown, spent, expired, session ended; the use of a spent one
    ends the session), `invalid_scope`.
    """

    route: ClassVar[Route] = _route("users.refresh.v1")
    reply: ClassVar[type[Tokens]] = Tokens
    encrypted: ClassVar[bool] = True

    refresh_token: Annotated[str, Field(max_length=500)]
    scope: Annotated[str, Field(max_length=1000)] | None = None


class ClientCredentials(Request[Tokens]):
    """A service's own access token, for a signed assertion (RFC 7523 §2.2).

    Refused: `invalid_client`, `invalid_scope`.
    """

    route: ClassVar[Route] = _route("users.client.v1")
    reply: ClassVar[type[Tokens]] = Tokens
    encrypted: ClassVar[bool] = True

    client_assertion: Annotated[str, Field(max_length=4000)]
    scope: Annotated[str, Field(max_length=1000)] | None = None


class Exchanged(_Reply):
    """A carnet for one audience."""

    carnet: str
    expires_in: int
    scope: str


class Exchange(Request[Exchanged]):
    """Trade an access token for a carnet (RFC 8693), with no more scope than it has.

    Refused: `invalid_grant`, `invalid_target` (this client may not ask for the audience),
    `invalid_scope`.
    """

    route: ClassVar[Route] = _route("users.exchange.v1")
    reply: ClassVar[type[Exchanged]] = Exchanged
    encrypted: ClassVar[bool] = True

    subject_token: Annotated[str, Field(max_length=8000)]
    audience: Annotated[str, Field(max_length=200)]
    scope: Annotated[str, Field(max_length=1000)]


class SignedOut(_Reply):
    """The session is ended."""

    sid: str


class SignOut(Request[SignedOut]):
    """End the session that an access token belongs to."""

    route: ClassVar[Route] = _route("users.sign_out.v1")
    reply: ClassVar[type[SignedOut]] = SignedOut
    encrypted: ClassVar[bool] = True

    access_token: Annotated[str, Field(max_length=8000)]


class KeySetStatement(_Reply):
    """The newest key set statement, to be verified with the trust root."""

    statement: str


class GetKeySet(Request[KeySetStatement]):
    """The newest key set statement."""

    route: ClassVar[Route] = _route("users.key_set.v1")
    reply: ClassVar[type[KeySetStatement]] = KeySetStatement
    encrypted: ClassVar[bool] = True
