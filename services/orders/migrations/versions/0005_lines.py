"""Who waits for a retry ahead of whom."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("retries", sa.Column("about", sa.String(200)))
    op.add_column(
        "retries",
        sa.Column("stays_ahead", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column(
        "retries", sa.Column("since", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "retries", sa.Column("until", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.create_index("ix_retries_about", "retries", ["about"])
