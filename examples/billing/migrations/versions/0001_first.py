"""Notes; inbox, outbox and retries."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OUTBOX_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "notes",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(100), nullable=False, index=True),
        sa.Column("text", sa.String(1000), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "inbox",
        sa.Column("iss", sa.String(64), primary_key=True),
        sa.Column("jti", sa.String(64), primary_key=True),
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64)),
        sa.Column("at", sa.BigInteger(), nullable=False, index=True),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _OUTBOX_ID, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.String(64), nullable=False, unique=True),
        sa.Column("aggregate", sa.String(200), nullable=False, server_default=""),
        sa.Column("exchange", sa.String(255), nullable=False),
        sa.Column("routing_key", sa.String(255), nullable=False),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("cause", sa.String(64), nullable=False),
        sa.Column("trace", sa.JSON(), nullable=False),
        sa.Column("receiver", sa.String(64)),
        sa.Column("scope", sa.String(1000)),
        sa.Column("wanted_until", sa.BigInteger()),
        sa.Column("carnet", sa.Text()),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("due_at", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_outbox_aggregate", "outbox", ["aggregate", "id"])
    op.create_table(
        "retries",
        sa.Column("iss", sa.String(64), primary_key=True),
        sa.Column("jti", sa.String(64), primary_key=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("started_by", sa.String(32)),
        sa.Column("about", sa.String(200), index=True),
        sa.Column("stays_ahead", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("since", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("until", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("at", sa.BigInteger(), nullable=False, index=True),
    )
