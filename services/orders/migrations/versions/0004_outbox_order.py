"""The outbox keeps the order of each aggregate, and holds commands beside events."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A replica of the version before, which still runs, names no aggregate.
    op.add_column(
        "outbox", sa.Column("aggregate", sa.String(200), nullable=False, server_default="")
    )
    op.execute("UPDATE outbox SET aggregate = subject")
    op.add_column("outbox", sa.Column("receiver", sa.String(64)))
    op.add_column("outbox", sa.Column("scope", sa.String(1000)))
    op.add_column("outbox", sa.Column("wanted_until", sa.BigInteger()))
    op.add_column("outbox", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "outbox", sa.Column("due_at", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.create_index("ix_outbox_aggregate", "outbox", ["aggregate", "id"])
