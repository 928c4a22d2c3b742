"""Run by Alembic, within `messaging.migrations.upgrade`."""

from messaging.migrations import run_migrations
from billing.store import METADATA

run_migrations(METADATA)
