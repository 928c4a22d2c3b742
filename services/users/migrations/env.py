"""Run by Alembic, within `messaging.migrations.upgrade`."""

from messaging.migrations import run_migrations
from services.users.store import Base

run_migrations(Base.metadata)
