"""The user service's database schema, step by step (Alembic)."""
