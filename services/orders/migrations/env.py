"""Run by Alembic, within `messaging.migrations.upgrade`."""

from messaging.migrations import run_migrations
from services.orders.tables import METADATA

run_migrations(METADATA)
