"""The requests that the user service answers.

Their bodies travel encrypted, both ways; but for those that ask for what everybody may know and
somebody may have to ask for whose keys are out of date.
"""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from auth.release import Lift
from auth.tokens import Actor
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
Origin = Annotated[
    str,
    Field(
        max_length=200,
        description="Where the user's own request came from: the client's network address.",
    ),
]
Token = Annotated[str, Field(max_length=8000)]
Presented = Annotated[str, Field(max_length=65_536)]
"""Anything that somebody shows as a token."""

Assertion = Annotated[str, Field(max_length=4000)]
Audiences = Annotated[
    tuple[Annotated[str, Field(max_length=255)], ...],
    Field(
        max_length=4,
        description="What the issuer is called where the client reached it: an assertion may be "
        "made out to any of these, besides to its name. The gateway alone has a say in it.",
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


PublicClient = Annotated[
    str | None,
    Field(max_length=200, description="The public client that asks; none for the caller itself."),
]


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class Registered(_Reply):
    """The new account."""

    sub: str = Field(description="The account's subject, a UUID.")
    name: str
    roles: tuple[str, ...]


class Register(Request[Registered]):
    """Make an account with the role `customer`.

    Refused: `name_taken`, `too_many_attempts` (from this origin; later it is allowed again).
    """

    route: ClassVar[Route] = _route("users.register.v1")
    reply: ClassVar[type[Registered]] = Registered
    encrypted: ClassVar[bool] = True

    name: Name
    password: NewPassword
    origin: Origin | None = None


class Tokens(_Reply):
    """An access token and, where there is a session to continue, its refresh token."""

    access_token: str
    expires_in: int = Field(description="Life of the access token, in seconds.")
    scope: str
    refresh_token: str | None = None


class SignIn(Request[Tokens]):
    """Open a session with name and password.

    Refused: `invalid_credentials`, and no other code: who has failed too often is told no more
    than who has failed once.
    """

    route: ClassVar[Route] = _route("users.issue.v1")
    reply: ClassVar[type[Tokens]] = Tokens
    encrypted: ClassVar[bool] = True

    name: Annotated[str, Field(max_length=200)]
    password: Password
    origin: Origin | None = None


class Refresh(Request[Tokens]):
    """Trade a refresh token for new tokens; the old one is spent.

    Refused: `invalid_grant` (unknown, spent, expired, of another client, session ended; the use
    of a spent one ends the session), `invalid_scope`, `invalid_client`.
    """

    route: ClassVar[Route] = _route("users.refresh.v1")
    reply: ClassVar[type[Tokens]] = Tokens
    encrypted: ClassVar[bool] = True

    refresh_token: Annotated[str, Field(max_length=500)]
    client_id: PublicClient = None
    scope: Annotated[str, Field(max_length=1000)] | None = None


class ClientCredentials(Request[Tokens]):
    """A service's own access token, for a signed assertion (RFC 7523 §2.2).

    Refused: `invalid_client`, `invalid_scope`.
    """

    route: ClassVar[Route] = _route("users.client.v1")
    reply: ClassVar[type[Tokens]] = Tokens
    encrypted: ClassVar[bool] = True

    client_assertion: Assertion
    audiences: Audiences = ()
    scope: Annotated[str, Field(max_length=1000)] | None = None


class Exchanged(_Reply):
    """A carnet for one audience."""

    carnet: str
    expires_in: int
    scope: str


class Exchange(Request[Exchanged]):
    """Trade an access token for a carnet (RFC 8693), with no more scope than it has.

    Or a carnet, by the service that it was made out to and sent to: then `seal` is the one that
    came with it, and the new carnet names that service as its actor, before the earlier ones.
    Refused: `invalid_grant`, `invalid_target` (this client may not ask for the audience),
    `invalid_scope`, `chain_too_long` (three have acted already), `not_yet` (a carnet by a key or of
    a time that is still to come here: ask again), `invalid_client` (the assertion),
    `invalid_request` (an assertion with a seal).
    """

    route: ClassVar[Route] = _route("users.exchange.v1")
    reply: ClassVar[type[Exchanged]] = Exchanged
    encrypted: ClassVar[bool] = True

    subject_token: Token
    audience: Annotated[str, Field(max_length=200)]
    scope: Annotated[str, Field(max_length=1000)] | None = None
    """All that the access token may do, where nothing is named."""
    client_assertion: Assertion | None = None
    """Of the client that asks, where that is another one than the gateway, which relays it."""
    audiences: Audiences = ()
    seal: Presented | None = None
    """Where the subject token is a carnet."""


class SignedOut(_Reply):
    """The session is ended."""

    sid: str


class SignOut(Request[SignedOut]):
    """End the session that an access token belongs to."""

    route: ClassVar[Route] = _route("users.sign_out.v1")
    reply: ClassVar[type[SignedOut]] = SignedOut
    encrypted: ClassVar[bool] = True

    access_token: Token


class TokenRevoked(_Reply):
    """Nothing more can be done with the token; whether there was one is not told."""


class RevokeToken(Request[TokenRevoked]):
    """End the session of an access token, a refresh token, or a carnet (RFC 7009).

    A token that nobody knows, or no longer, is no error; nor is a carnet without an assertion of
    the client that may seal with it, which ends nothing: who reads the broker has it.
    Refused: `unauthorized_client` (it was issued to another client), `unsupported_token_type` (a
    token that belongs to no session: withdraw the client instead), `invalid_client` (the
    assertion).
    """

    route: ClassVar[Route] = _route("users.revoke.v1")
    reply: ClassVar[type[TokenRevoked]] = TokenRevoked
    encrypted: ClassVar[bool] = True

    token: Presented
    hint: Annotated[str, Field(max_length=100)] | None = None
    client_assertion: Assertion | None = None
    """Of the client that asks, where that is another one than the gateway, which relays it."""
    client_id: PublicClient = None
    audiences: Audiences = ()


class Introspection(_Reply):
    """What a token is now (RFC 7662 §2.2); with `active` false nothing else is said."""

    active: bool
    scope: str | None = None
    client_id: str | None = None
    token_type: Literal["Bearer"] | None = None
    exp: int | None = None
    iat: int | None = None
    sub: str | None = None
    aud: str | None = None
    iss: str | None = None
    jti: str | None = None
    sid: str | None = None
    act: Actor | None = Field(default=None, description="Who acts for the subject (RFC 8693 §4.1)")


class Introspect(Request[Introspection]):
    """What a token is now, for a party that cannot verify it itself (RFC 7662).

    A client is told of tokens that it receives or that were issued to it; the gateway, where all
    tokens arrive, of every one. Refused: `invalid_client` (the assertion).
    """

    route: ClassVar[Route] = _route("users.introspect.v1")
    reply: ClassVar[type[Introspection]] = Introspection
    encrypted: ClassVar[bool] = True

    token: Presented
    client_assertion: Assertion | None = None
    """Of the client that asks, where that is another one than the gateway, which relays it."""
    audiences: Audiences = ()


class KeySetStatement(_Reply):
    """The newest key set statement, to be verified with the trust root."""

    statement: str


class GetKeySet(Request[KeySetStatement]):
    """The newest key set statement.

    Not encrypted: a party whose listed encryption key is out of date must be able to ask.
    """

    route: ClassVar[Route] = _route("users.key_set.v1")
    reply: ClassVar[type[KeySetStatement]] = KeySetStatement


class RevocationsPage(_Reply):
    """One page of the revocations in force, signed by the issuer (`auth.statements`)."""

    snapshot: str


class GetRevocations(Request[RevocationsPage]):
    """The revocations in force with a number above `after`, at most a page of them."""

    route: ClassVar[Route] = _route("users.revocations.v1")
    reply: ClassVar[type[RevocationsPage]] = RevocationsPage

    after: Annotated[int, Field(ge=0, le=2**53)] = 0


class Released(_Reply):
    """The issuer's statement, to be sent beside the message (`auth.release`)."""

    release: str


class ReleaseLetter(Request[Released]):
    """Have a dead letter taken after all: asked by an operator, stated by the issuer.

    Refused: `invalid_grant`, `insufficient_scope` (without `dead-letters:release`), and the code of
    the check that the message does not pass: it was never genuine, or is revoked, or what is wrong
    with it is not lifted.
    """

    route: ClassVar[Route] = _route("users.release.v1")
    reply: ClassVar[type[Released]] = Released
    encrypted: ClassVar[bool] = True

    access_token: Token
    """The operator's."""
    carnet: Presented | None
    seal: Presented
    lift: tuple[Lift, ...] = ()


class Discarded(_Reply):
    """The issuer's statement, where the message was genuine and its receiver is to know."""

    release: str | None


class DiscardLetter(Request[Discarded]):
    """Have it written down that a dead letter is not wanted any more.

    Refused: `invalid_grant`, `insufficient_scope` (without `dead-letters:release`).
    """

    route: ClassVar[Route] = _route("users.discard.v1")
    reply: ClassVar[type[Discarded]] = Discarded
    encrypted: ClassVar[bool] = True

    access_token: Token
    """The operator's."""
    letter: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Which one, for the audit log: SHA-256 of what it holds."""
    carnet: Presented | None = None
    seal: Presented | None = None
    """Absent where the letter has none to show."""
