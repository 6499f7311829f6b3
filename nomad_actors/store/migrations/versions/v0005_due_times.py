"""Due times by what changes, rows set aside, listings read in several steps, and characters that were sold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the columns and tables; older rows have no value for them."""
    with op.batch_alter_table("characters") as characters:
        characters.add_column(sa.Column("offline_since_ms", sa.BigInteger(), nullable=True))
        characters.add_column(sa.Column("sold_id", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("sync_state") as state:
        state.add_column(sa.Column("changed_ms", sa.BigInteger(), nullable=True))
        state.add_column(sa.Column("set_aside", sa.BigInteger(), nullable=False, server_default="0"))
    has_error = sa.text("error IS NOT NULL")
    op.create_index(
        "ix_sync_state_errors", "sync_state", ["character_id"], sqlite_where=has_error, postgresql_where=has_error
    )
    op.create_table(
        "set_aside_rows",
        sa.Column("entry_id", _COUNTER, nullable=False),
        sa.Column("character_id", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("row_json", sa.Text(), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_set_aside_rows_character_id")
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_set_aside_rows")),
        sa.UniqueConstraint(
            "character_id", "route", "digest", name=op.f("uq_set_aside_rows_character_id_route_digest")
        ),
    )
    op.create_index(op.f("ix_set_aside_rows_character_id_route"), "set_aside_rows", ["character_id", "route"])
    op.create_table(
        "listing_pages",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("page", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body_json", sa.Text(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("last_modified", sa.Text(), nullable=True),
        sa.Column("pages", sa.BigInteger(), nullable=False),
        sa.Column("fresh_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("saved_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_listing_pages_character_id")
        ),
        sa.PrimaryKeyConstraint("character_id", "route", "page", name=op.f("pk_listing_pages")),
    )
