"""What the user service keeps: accounts and sessions, what is ended, who signs, what was done.

Times are whole seconds since the epoch (UTC), so that they compare alike on every database.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MIGRATIONS: Final = Path(__file__).with_name("migrations")

_ID: Final = String(36)
_CLIENT: Final = String(200)
_SHA256: Final = String(64)
_KID: Final = String(64)
_COUNTED: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger()}  # noqa: RUF012 - SQLAlchemy's own name and form


def table_of(kind: type[Base]) -> Table:
    """The table itself, for what only a statement of its own can say."""
    return kind.metadata.tables[kind.__tablename__]


class Account(Base):
    """A person who may sign in. `sub` is a UUID, so it never meets a service's subject."""

    __tablename__ = "accounts"

    sub: Mapped[str] = mapped_column(_ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    roles: Mapped[list[str]] = mapped_column(JSON)
    epoch: Mapped[int]
    """Rises with the password, the roles and the end of access: what is older is void."""
    enabled: Mapped[bool]
    created_at: Mapped[int]


class Session(Base):
    """One sign-in through one client, and the family of its refresh tokens."""

    __tablename__ = "sessions"

    sid: Mapped[str] = mapped_column(_ID, primary_key=True)
    sub: Mapped[str] = mapped_column(ForeignKey(Account.sub, ondelete="CASCADE"), index=True)
    client_id: Mapped[str] = mapped_column(_CLIENT)
    epoch: Mapped[int]
    """The account's epoch at sign-in: the session dies when the account's has risen."""
    created_at: Mapped[int] = mapped_column(index=True)
    used_at: Mapped[int]
    ended_at: Mapped[int | None]
    ended_why: Mapped[str | None] = mapped_column(String(40))
    scope: Mapped[str | None] = mapped_column(String(1000))
    """What the user let the client have of what the account may do; null for all of it."""


class RefreshToken(Base):
    """A refresh token, by its SHA-256 in hexadecimal: what is stored cannot be presented."""

    __tablename__ = "refresh_tokens"

    digest: Mapped[str] = mapped_column(_SHA256, primary_key=True)
    sid: Mapped[str] = mapped_column(ForeignKey(Session.sid, ondelete="CASCADE"), index=True)
    issued_at: Mapped[int]
    spent_at: Mapped[int | None]


class PublicClient(Base):
    """An OAuth client without a key, which an operator has added: an app, a tool, a device."""

    __tablename__ = "public_clients"

    client_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    title: Mapped[str] = mapped_column(String(100))
    redirect_uris: Mapped[list[str]] = mapped_column(JSON)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    devices: Mapped[bool]
    """Whether it may ask for users on other devices (RFC 8628)."""
    created_at: Mapped[int]


class AuthorizationCode(Base):
    """A code, by its SHA-256, and the session that it opens: nobody has its tokens before."""

    __tablename__ = "authorization_codes"

    digest: Mapped[str] = mapped_column(_SHA256, primary_key=True)
    sid: Mapped[str] = mapped_column(ForeignKey(Session.sid, ondelete="CASCADE"), index=True)
    redirect_uri: Mapped[str | None] = mapped_column(String(500))
    """As the client gave it, if it did."""
    challenge: Mapped[str] = mapped_column(String(43))
    expires_at: Mapped[int] = mapped_column(index=True)
    spent_at: Mapped[int | None]


class DeviceCode(Base):
    """A device that wants somebody to be signed in, by the SHA-256 of each of its two codes."""

    __tablename__ = "device_codes"

    digest: Mapped[str] = mapped_column(_SHA256, primary_key=True)
    user_code: Mapped[str] = mapped_column(_SHA256, unique=True)
    client_id: Mapped[str] = mapped_column(String(64), index=True)
    scope: Mapped[str | None] = mapped_column(String(1000))
    expires_at: Mapped[int] = mapped_column(index=True)
    interval: Mapped[int]
    asked_at: Mapped[int]
    """When it asked last; 0 for never."""
    denied: Mapped[bool]
    sid: Mapped[str | None] = mapped_column(ForeignKey(Session.sid, ondelete="CASCADE"), index=True)
    """The session that its user has allowed."""
    spent_at: Mapped[int | None]


class SpentAssertion(Base):
    """A client assertion that was used, until it could not be used again anyway."""

    __tablename__ = "spent_assertions"

    client_id: Mapped[str] = mapped_column(_CLIENT, primary_key=True)
    jti: Mapped[str] = mapped_column(String(200), primary_key=True)
    expires_at: Mapped[int] = mapped_column(index=True)


class SpentRequest(Base):
    """A request that changed something, until no replica would take it any more."""

    __tablename__ = "spent_requests"

    client_id: Mapped[str] = mapped_column(_CLIENT, primary_key=True)
    request_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    expires_at: Mapped[int] = mapped_column(index=True)


class Feed(Base):
    """The one row of the trust feed: its id, and the number of the latest revocation.

    Who revokes counts it up, and holds the row until the commit: so numbers become visible in
    their order, and none is ever missing between two.
    """

    __tablename__ = "feed"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    seq: Mapped[int]


class Revoked(Base):
    """What was ended: a session, or a subject's tokens with an epoch below `epoch`."""

    __tablename__ = "revocations"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sid: Mapped[str | None] = mapped_column(_ID)
    sub: Mapped[str | None] = mapped_column(_ID)
    epoch: Mapped[int | None]
    until: Mapped[int] = mapped_column(index=True)
    """When the last token that it hits can have had its last effect."""
    at: Mapped[int] = mapped_column(index=True)
    why: Mapped[str] = mapped_column(String(40))


class AdoptedKeySet(Base):
    """A key set statement that this service has believed; the highest version counts.

    Older ones stay: they tell which keys were the issuer's when.
    """

    __tablename__ = "key_sets"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    issued_at: Mapped[int]
    adopted_at: Mapped[int]
    statement: Mapped[str] = mapped_column(Text)


class IssuerKey(Base):
    """A key of the issuer's, from the first statement that listed it."""

    __tablename__ = "issuer_keys"

    kid: Mapped[str] = mapped_column(_KID, primary_key=True)
    listed_at: Mapped[int]
    since: Mapped[int | None]
    """When it began to sign."""
    retired_at: Mapped[int | None]
    """When it ceased to sign, or was kept from it; it never does again."""
    signing: Mapped[bool | None] = mapped_column(unique=True)
    """True for the one that signs, null for all others: the database lets no two sign."""


class Attempts(Base):
    """How often somebody failed, or tried, lately. `counted`: the SHA-256 of who or where."""

    __tablename__ = "attempts"

    counted: Mapped[str] = mapped_column(_SHA256, primary_key=True)
    count: Mapped[int]
    since: Mapped[int]
    last_at: Mapped[int] = mapped_column(index=True)


class KnownOrigin(Base):
    """Where an account has signed in from, and when last."""

    __tablename__ = "known_origins"

    sub: Mapped[str] = mapped_column(ForeignKey(Account.sub, ondelete="CASCADE"), primary_key=True)
    origin: Mapped[str] = mapped_column(_SHA256, primary_key=True)
    at: Mapped[int] = mapped_column(index=True)


class Secret(Base):
    """A random value of this database's own, made with its tables."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class AuditChain(Base):
    """The end of one of the audit log's chains: the number and the hash of its last entry."""

    __tablename__ = "audit_chains"

    chain: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    hash: Mapped[str] = mapped_column(_SHA256)


class AuditEntry(Base):
    """What was done or refused: `services.users.audit`. The database takes no change to it."""

    __tablename__ = "audit"
    __table_args__ = (UniqueConstraint("chain", "number"),)

    id: Mapped[int] = mapped_column(_COUNTED, primary_key=True, autoincrement=True)
    chain: Mapped[int]
    number: Mapped[int]
    at: Mapped[int] = mapped_column(index=True)
    what: Mapped[str] = mapped_column(String(40))
    outcome: Mapped[str] = mapped_column(String(10))
    who: Mapped[str] = mapped_column(String(255))
    client: Mapped[str | None] = mapped_column(_CLIENT)
    whom: Mapped[str | None] = mapped_column(String(255))
    session: Mapped[str | None] = mapped_column(String(64))
    why: Mapped[str | None] = mapped_column(String(255))
    origin: Mapped[str | None] = mapped_column(_SHA256)
    request_id: Mapped[str | None] = mapped_column(String(200))
    previous: Mapped[str] = mapped_column(_SHA256)
    hash: Mapped[str] = mapped_column(_SHA256)
