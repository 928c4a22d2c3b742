"""Public clients, authorization codes, device codes, and what a session was let do."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("scope", sa.String(1000)))
    op.create_table(
        "public_clients",
        sa.Column("client_id", sa.String(64), primary_key=True),
        sa.Column("title", sa.String(100), nullable=False),
        sa.Column("redirect_uris", sa.JSON(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("devices", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "authorization_codes",
        sa.Column("digest", sa.String(64), primary_key=True),
        _session(nullable=False),
        sa.Column("redirect_uri", sa.String(500)),
        sa.Column("challenge", sa.String(43), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False, index=True),
        sa.Column("spent_at", sa.BigInteger()),
    )
    op.create_table(
        "device_codes",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("user_code", sa.String(64), nullable=False, unique=True),
        sa.Column("client_id", sa.String(64), nullable=False, index=True),
        sa.Column("scope", sa.String(1000)),
        sa.Column("expires_at", sa.BigInteger(), nullable=False, index=True),
        sa.Column("interval", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("denied", sa.Boolean(), nullable=False),
        _session(nullable=True),
        sa.Column("spent_at", sa.BigInteger()),
    )


def _session(*, nullable: bool) -> sa.Column[str]:
    return sa.Column(
        "sid",
        sa.String(36),
        sa.ForeignKey("sessions.sid", ondelete="CASCADE"),
        nullable=nullable,
        index=True,
    )


def downgrade() -> None:
    for table in ("device_codes", "authorization_codes", "public_clients"):
        op.drop_table(table)
    # Without the column a session may do all that its user may: what was let do less has to end.
    op.execute(
        "DELETE FROM refresh_tokens WHERE sid IN (SELECT sid FROM sessions WHERE scope IS NOT NULL)"
    )
    op.execute("DELETE FROM sessions WHERE scope IS NOT NULL")
    op.drop_column("sessions", "scope")
