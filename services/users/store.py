"""What the user service keeps: accounts, their sessions, refresh tokens, spent assertions.

Times are whole seconds since the epoch (UTC), so that they compare alike on every database.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import JSON, BigInteger, ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MIGRATIONS: Final = Path(__file__).with_name("migrations")

_ID: Final = String(36)
_CLIENT: Final = String(200)


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


class RefreshToken(Base):
    """A refresh token, by its SHA-256 in hexadecimal: what is stored cannot be presented."""

    __tablename__ = "refresh_tokens"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    sid: Mapped[str] = mapped_column(ForeignKey(Session.sid, ondelete="CASCADE"), index=True)
    issued_at: Mapped[int]
    spent_at: Mapped[int | None]


class SpentAssertion(Base):
    """A client assertion that was used, until it could not be used again anyway."""

    __tablename__ = "spent_assertions"

    client_id: Mapped[str] = mapped_column(_CLIENT, primary_key=True)
    jti: Mapped[str] = mapped_column(String(200), primary_key=True)
    expires_at: Mapped[int] = mapped_column(index=True)
