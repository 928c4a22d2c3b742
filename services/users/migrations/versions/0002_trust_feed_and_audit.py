"""The trust feed, the issuer's keys, failed attempts, spent requests, the audit log."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CHAINS = 32
ZERO = "0" * 64

_REFUSE_ON_SQLITE = """
CREATE TRIGGER audit_no_{event} BEFORE {event} ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
"""
_REFUSE_ON_POSTGRESQL = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$
"""
_TRIGGER_ON_POSTGRESQL = """
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
"""


def upgrade() -> None:
    _create_feed()
    _create_keys()
    _create_attempts()
    _create_audit()


def _create_feed() -> None:
    feed = op.create_table(
        "feed",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(feed, [{"id": secrets.token_urlsafe(16), "seq": 0}])
    op.create_table(
        "revocations",
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("sid", sa.String(36)),
        sa.Column("sub", sa.String(36)),
        sa.Column("epoch", sa.BigInteger()),
        sa.Column("until", sa.BigInteger(), nullable=False, index=True),
        sa.Column("at", sa.BigInteger(), nullable=False, index=True),
        sa.Column("why", sa.String(40), nullable=False),
    )


def _create_keys() -> None:
    op.create_table(
        "key_sets",
        sa.Column("version", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("adopted_at", sa.BigInteger(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
    )
    op.create_table(
        "issuer_keys",
        sa.Column("kid", sa.String(64), primary_key=True),
        sa.Column("listed_at", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger()),
        sa.Column("retired_at", sa.BigInteger()),
        sa.Column("signing", sa.Boolean(), unique=True),
    )


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("counted", sa.String(64), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False, index=True),
    )
    op.create_table(
        "known_origins",
        sa.Column(
            "sub",
            sa.String(36),
            sa.ForeignKey("accounts.sub", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("origin", sa.String(64), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False, index=True),
    )
    op.create_table(
        "spent_requests",
        sa.Column("client_id", sa.String(200), primary_key=True),
        sa.Column("request_id", sa.String(200), primary_key=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False, index=True),
    )
    table = op.create_table(
        "secrets",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.String(64), nullable=False),
    )
    op.bulk_insert(table, [{"name": "origins", "value": secrets.token_hex(32)}])


def _create_audit() -> None:
    chains = op.create_table(
        "audit_chains",
        sa.Column("chain", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.bulk_insert(chains, [{"chain": n, "number": 0, "hash": ZERO} for n in range(CHAINS)])
    op.create_table(
        "audit",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, index=True),
        sa.Column("what", sa.String(40), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("client", sa.String(200)),
        sa.Column("whom", sa.String(255)),
        sa.Column("session", sa.String(64)),
        sa.Column("why", sa.String(255)),
        sa.Column("origin", sa.String(64)),
        sa.Column("request_id", sa.String(200)),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.UniqueConstraint("chain", "number"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(_REFUSE_ON_SQLITE.format(event=event))
        return
    op.execute(_REFUSE_ON_POSTGRESQL)
    op.execute(_TRIGGER_ON_POSTGRESQL)


def downgrade() -> None:
    for table in (
        "audit",
        "audit_chains",
        "secrets",
        "spent_requests",
        "known_origins",
        "attempts",
        "issuer_keys",
        "key_sets",
        "revocations",
        "feed",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_audit_change()")
