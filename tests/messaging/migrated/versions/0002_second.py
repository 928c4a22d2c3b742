"""The second table, with a row that must not be there twice."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    table = op.create_table("second", sa.Column("id", sa.Integer, primary_key=True))
    op.bulk_insert(table, [{"id": 1}])
