"""The audit log's columns for what was acted on; the admin's sessions and revoked tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, which are empty in older rows, and the tables."""
    with op.batch_alter_table("audit_log") as audit:
        audit.alter_column("actor", existing_type=sa.String(40), type_=sa.String(120), existing_nullable=False)
        audit.alter_column("peer", existing_type=sa.String(64), type_=sa.String(80), existing_nullable=False)
        audit.add_column(sa.Column("endpoint", sa.String(length=120), nullable=True))
        audit.add_column(sa.Column("queue", sa.String(length=300), nullable=True))
        audit.add_column(sa.Column("job_id", sa.String(length=300), nullable=True))
        audit.add_column(sa.Column("schedule", sa.String(length=300), nullable=True))
        audit.add_column(sa.Column("body_bytes", sa.BigInteger(), nullable=True))
        audit.add_column(sa.Column("body_sha256", sa.String(length=64), nullable=True))
        audit.create_index(op.f("ix_audit_log_queue_entry_id"), ["queue", "entry_id"])
        audit.create_index(op.f("ix_audit_log_job_id_entry_id"), ["job_id", "entry_id"])
    op.create_table(
        "admin_sessions",
        sa.Column("id_hash", sa.String(length=64), nullable=False),
        sa.Column("token_name", sa.String(length=40), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("link", sa.String(length=64), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_admin_sessions")),
        sa.UniqueConstraint("link", name=op.f("uq_admin_sessions_link")),
    )
    op.create_index(op.f("ix_admin_sessions_expires_ms"), "admin_sessions", ["expires_ms"])
    op.create_table(
        "admin_revoked_tokens",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_admin_revoked_tokens")),
    )
