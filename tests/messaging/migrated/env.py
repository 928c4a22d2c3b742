"""Migrations to test with."""

from sqlalchemy import MetaData

from messaging.migrations import run_migrations

run_migrations(MetaData())
