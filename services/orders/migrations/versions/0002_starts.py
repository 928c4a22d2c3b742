"""Starts of messages that may crash their process."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("retries", sa.Column("starts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("retries", sa.Column("started_by", sa.String(32)))
