"""What pruning the inbox needs: its age by index, and each command's id kept with its event."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_inbox_at", "inbox", ["at"])
    op.create_index("ix_retries_at", "retries", ["at"])
    op.add_column("order_events", sa.Column("cause", sa.String(130)))
    op.create_index("uq_order_events_cause", "order_events", ["cause", "type"], unique=True)
