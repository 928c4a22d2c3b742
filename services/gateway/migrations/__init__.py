"""The gateway's database schema, step by step (Alembic)."""
