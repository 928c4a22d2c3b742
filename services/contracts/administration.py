"""The requests by which operators see and change what the user service keeps.

Each shows the operator's access token, which must carry the scope that it names: so the issuer
itself judges who asks, whichever client relays it. Bodies travel encrypted, both ways.

Refused, all of them: `invalid_grant` (the token is not good, or its session has ended),
`insufficient_scope`. Times are whole seconds since the epoch.
"""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from auth.verifier import Route
from messaging.contract import Request
from services.contracts.topology import USERS_RPC
from services.contracts.users import Name, Token

MAX_PAGE: Final = 100
"""Entries in one answer, at most."""

Subject = Annotated[str, Field(max_length=200, description="An account's `sub`.")]
SessionId = Annotated[str, Field(max_length=36, description="A session's `sid`.")]
Kid = Annotated[str, Field(max_length=64, description="Thumbprint of a key (RFC 7638).")]
PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE)]


def _route(message_type: str) -> Route:
    return Route("carnet.rpc", USERS_RPC, message_type)


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class AccountView(_Reply):
    """An account as an operator sees it; `sessions`: how many of its are live."""

    sub: Subject
    name: str
    roles: tuple[str, ...]
    enabled: bool
    created_at: int
    sessions: int


class AccountsPage(_Reply):
    """Accounts by their names; `next`: where the next page begins, None at the end."""

    accounts: tuple[AccountView, ...]
    next: str | None = None


class FindAccounts(Request[AccountsPage]):
    """Accounts, by name. Needs `operations:read`."""

    route: ClassVar[Route] = _route("users.accounts.v1")
    reply: ClassVar[type[AccountsPage]] = AccountsPage
    encrypted: ClassVar[bool] = True

    access_token: Token
    search: Annotated[
        str | None,
        Field(max_length=64, description="Part of a name, or the whole `sub`; none for all."),
    ] = None
    after: Annotated[str | None, Field(max_length=64, description="`next` of the page before.")] = (
        None
    )
    limit: PageSize = 50


class SessionView(_Reply):
    """A session as an operator sees it."""

    sid: SessionId
    client_id: str
    created_at: int
    used_at: int
    """When it was last refreshed."""
    expires_at: int
    """When it ends by itself, unless it is refreshed before."""
    live: bool
    ended_at: int | None = None
    ended_why: str | None = None
    scope: str | None = None
    """What the client was let have; None for all that the account may do."""


class SessionsPage(_Reply):
    """The latest first, 100 at most."""

    sessions: tuple[SessionView, ...]


class FindSessions(Request[SessionsPage]):
    """An account's sessions. Needs `operations:read`. Refused: `unknown_account`."""

    route: ClassVar[Route] = _route("users.sessions.v1")
    reply: ClassVar[type[SessionsPage]] = SessionsPage
    encrypted: ClassVar[bool] = True

    access_token: Token
    sub: Subject


class SessionEnded(_Reply):
    """It has ended, now or before; whoever trusts us hears of it within a moment."""

    sid: SessionId


class EndSession(Request[SessionEnded]):
    """End a session, and void its tokens. Needs `sessions:revoke`. Refused: `unknown_session`."""

    route: ClassVar[Route] = _route("users.end_session.v1")
    reply: ClassVar[type[SessionEnded]] = SessionEnded
    encrypted: ClassVar[bool] = True

    access_token: Token
    sid: SessionId


class SessionsEnded(_Reply):
    """All sessions of the account have ended; it may sign in again."""

    name: str


class EndSessions(Request[SessionsEnded]):
    """End all sessions of an account, and void its tokens. Needs `sessions:revoke`.

    Refused: `unknown_account`.
    """

    route: ClassVar[Route] = _route("users.end_sessions.v1")
    reply: ClassVar[type[SessionsEnded]] = SessionsEnded
    encrypted: ClassVar[bool] = True

    access_token: Token
    name: Name


class IssuerKeyView(_Reply):
    """One of the issuer's keys.

    state: as the statement lists it; None where it does so no more.   since, retired_at: when it
    began and ceased to sign.   here: whether the replica that answers holds its private key.
    """

    kid: Kid
    state: Literal["active", "next", "retired"] | None
    since: int | None
    retired_at: int | None
    signing: bool
    here: bool


class IssuerKeysPage(_Reply):
    """The oldest first."""

    keys: tuple[IssuerKeyView, ...]


class GetIssuerKeys(Request[IssuerKeysPage]):
    """All keys that the issuer has or had. Needs `operations:read`."""

    route: ClassVar[Route] = _route("users.issuer_keys.v1")
    reply: ClassVar[type[IssuerKeysPage]] = IssuerKeysPage
    encrypted: ClassVar[bool] = True

    access_token: Token


class IssuerKeyChanged(_Reply):
    """`kid` signs now."""

    kid: Kid


class RotateIssuerKey(Request[IssuerKeyChanged]):
    """Let the next key sign from now on. Needs `keys:rotate`.

    Refused: `no_next_key`, `rotated_meanwhile`.
    """

    route: ClassVar[Route] = _route("users.rotate_key.v1")
    reply: ClassVar[type[IssuerKeyChanged]] = IssuerKeyChanged
    encrypted: ClassVar[bool] = True

    access_token: Token
    instead_of: Annotated[
        str | None,
        Field(max_length=64, description="The key that must still sign; none for whichever does."),
    ] = None


class RetireIssuerKey(Request[IssuerKeyChanged]):
    """Have a key never sign (any more): the next one does, where it is the one that signs now.

    What it has signed is believed as before: to void that, the trust root withdraws the key.

    Needs `keys:rotate`. Refused: `unknown_key`, `no_next_key`, `rotated_meanwhile`.
    """

    route: ClassVar[Route] = _route("users.retire_key.v1")
    reply: ClassVar[type[IssuerKeyChanged]] = IssuerKeyChanged
    encrypted: ClassVar[bool] = True

    access_token: Token
    kid: Kid


class AuditView(_Reply):
    """One entry of the audit log (`services.users.audit`)."""

    id: int
    at: int
    what: str
    outcome: str
    who: str
    client: str | None = None
    whom: str | None = None
    session: str | None = None
    why: str | None = None
    origin: str | None = None
    request_id: str | None = None


class AuditPage(_Reply):
    """Entries, the latest first; `next`: the `before` of the next page, None at the end.

    There may be fewer than asked for, even none, before the end: one answer looks at so many.
    """

    entries: tuple[AuditView, ...]
    next: int | None = None


class ReadAudit(Request[AuditPage]):
    """The audit log. Needs `operations:read`."""

    route: ClassVar[Route] = _route("users.audit.v1")
    reply: ClassVar[type[AuditPage]] = AuditPage
    encrypted: ClassVar[bool] = True

    access_token: Token
    what: Annotated[str | None, Field(max_length=40, description="Only of this kind.")] = None
    outcome: Literal["done", "refused"] | None = None
    about: Annotated[
        str | None, Field(max_length=255, description="Whole `who`, `whom`, or `session`.")
    ] = None
    before: Annotated[int | None, Field(ge=1, le=2**53)] = None
    limit: PageSize = 50
