"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "characters",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner_hash", sa.Text(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("state_changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("character_id", name=op.f("pk_characters")),
    )
    op.create_table(
        "documents",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("body_json", sa.Text(), nullable=False),
        sa.Column("pages", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["character_id"], ["characters.character_id"], name=op.f("fk_documents_character_id")),
        sa.PrimaryKeyConstraint("character_id", "route", name=op.f("pk_documents")),
    )
    op.create_table(
        "industry_job_events",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("old_status", sa.String(length=40), nullable=True),
        sa.Column("new_status", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_industry_job_events_character_id")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_industry_job_events")),
    )
    op.create_index(
        op.f("ix_industry_job_events_character_id_job_id"),
        "industry_job_events",
        ["character_id", "job_id"],
        unique=False,
    )
    op.create_table(
        "industry_jobs",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("as_of_ms", sa.BigInteger(), nullable=False),
        sa.Column("activity_id", sa.BigInteger(), nullable=False),
        sa.Column("blueprint_id", sa.BigInteger(), nullable=False),
        sa.Column("blueprint_location_id", sa.BigInteger(), nullable=False),
        sa.Column("blueprint_type_id", sa.BigInteger(), nullable=False),
        sa.Column("duration", sa.BigInteger(), nullable=False),
        sa.Column("facility_id", sa.BigInteger(), nullable=False),
        sa.Column("installer_id", sa.BigInteger(), nullable=False),
        sa.Column("output_location_id", sa.BigInteger(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("station_id", sa.BigInteger(), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("pause_ms", sa.BigInteger(), nullable=True),
        sa.Column("completed_ms", sa.BigInteger(), nullable=True),
        sa.Column("completed_character_id", sa.BigInteger(), nullable=True),
        sa.Column("cost", sa.Double(), nullable=True),
        sa.Column("licensed_runs", sa.BigInteger(), nullable=True),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("product_type_id", sa.BigInteger(), nullable=True),
        sa.Column("successful_runs", sa.BigInteger(), nullable=True),
        sa.Column("extra", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_industry_jobs_character_id")
        ),
        sa.PrimaryKeyConstraint("character_id", "job_id", name=op.f("pk_industry_jobs")),
    )
    op.create_table(
        "logins",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("refresh_token", sa.Text(), nullable=False),
        sa.Column("access_token", sa.Text(), nullable=True),
        sa.Column("access_expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("refreshed_ms", sa.BigInteger(), nullable=False),
        sa.Column("strikes", sa.BigInteger(), nullable=False),
        sa.Column("first_strike_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_strike_ms", sa.BigInteger(), nullable=True),
        sa.Column("flight", sa.Text(), nullable=True),
        sa.Column("flight_until_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["character_id"], ["characters.character_id"], name=op.f("fk_logins_character_id")),
        sa.PrimaryKeyConstraint("character_id", name=op.f("pk_logins")),
    )
    op.create_table(
        "market_orders",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("inferred", sa.Boolean(), nullable=False),
        sa.Column("missing_since_ms", sa.BigInteger(), nullable=True),
        sa.Column("as_of_ms", sa.BigInteger(), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("duration", sa.BigInteger(), nullable=False),
        sa.Column("is_buy_order", sa.Boolean(), nullable=False),
        sa.Column("is_corporation", sa.Boolean(), nullable=False),
        sa.Column("location_id", sa.BigInteger(), nullable=False),
        sa.Column("region_id", sa.BigInteger(), nullable=False),
        sa.Column("type_id", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("range", sa.Text(), nullable=False),
        sa.Column("volume_remain", sa.BigInteger(), nullable=False),
        sa.Column("volume_total", sa.BigInteger(), nullable=False),
        sa.Column("min_volume", sa.BigInteger(), nullable=True),
        sa.Column("escrow", sa.Double(), nullable=True),
        sa.Column("extra", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_market_orders_character_id")
        ),
        sa.PrimaryKeyConstraint("character_id", "order_id", name=op.f("pk_market_orders")),
    )
    op.create_table(
        "order_events",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("inferred", sa.Boolean(), nullable=False),
        sa.Column("changes", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_order_events_character_id")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_order_events")),
    )
    op.create_index(
        op.f("ix_order_events_character_id_order_id"),
        "order_events",
        ["character_id", "order_id"],
        unique=False,
    )
    op.create_table(
        "skill_events",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("skill_id", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("skillpoints_delta", sa.BigInteger(), nullable=False),
        sa.Column("level_delta", sa.BigInteger(), nullable=False),
        sa.Column("trained_level", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_skill_events_character_id")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_skill_events")),
    )
    op.create_index(op.f("ix_skill_events_character_id_at_ms"), "skill_events", ["character_id", "at_ms"], unique=False)
    op.create_table(
        "skill_levels",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("skill_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("active_level", sa.BigInteger(), nullable=False),
        sa.Column("trained_level", sa.BigInteger(), nullable=False),
        sa.Column("skillpoints", sa.BigInteger(), nullable=False),
        sa.Column("as_of_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_skill_levels_character_id")
        ),
        sa.PrimaryKeyConstraint("character_id", "skill_id", name=op.f("pk_skill_levels")),
    )
    op.create_table(
        "skill_totals",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("total_sp", sa.BigInteger(), nullable=False),
        sa.Column("unallocated_sp", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_skill_totals_character_id")
        ),
        sa.PrimaryKeyConstraint("character_id", "at_ms", name=op.f("pk_skill_totals")),
    )
    op.create_table(
        "sync_state",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("last_modified", sa.Text(), nullable=True),
        sa.Column("fresh_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("as_of_ms", sa.BigInteger(), nullable=True),
        sa.Column("synced_ms", sa.BigInteger(), nullable=True),
        sa.Column("rows_complete", sa.Boolean(), nullable=False),
        sa.Column("attempted_ms", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("next_due_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_priority", sa.Integer(), nullable=True),
        sa.Column("asked_ms", sa.BigInteger(), nullable=True),
        sa.Column("queued_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["character_id"], ["characters.character_id"], name=op.f("fk_sync_state_character_id")),
        sa.PrimaryKeyConstraint("character_id", "route", name=op.f("pk_sync_state")),
    )
    op.create_index(op.f("ix_sync_state_next_due_ms"), "sync_state", ["next_due_ms"], unique=False)
    op.create_table(
        "wallet_journal",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("date_ms", sa.BigInteger(), nullable=False),
        sa.Column("ref_type", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("amount", sa.Double(), nullable=True),
        sa.Column("balance", sa.Double(), nullable=True),
        sa.Column("context_id", sa.BigInteger(), nullable=True),
        sa.Column("context_id_type", sa.Text(), nullable=True),
        sa.Column("first_party_id", sa.BigInteger(), nullable=True),
        sa.Column("second_party_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("tax", sa.Double(), nullable=True),
        sa.Column("tax_receiver_id", sa.BigInteger(), nullable=True),
        sa.Column("extra", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_wallet_journal_character_id")
        ),
        sa.PrimaryKeyConstraint("character_id", "id", name=op.f("pk_wallet_journal")),
    )
    op.create_index(
        op.f("ix_wallet_journal_character_id_date_ms"),
        "wallet_journal",
        ["character_id", "date_ms"],
        unique=False,
    )
    op.create_table(
        "wallet_transactions",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("date_ms", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.BigInteger(), nullable=False),
        sa.Column("is_buy", sa.Boolean(), nullable=False),
        sa.Column("is_personal", sa.Boolean(), nullable=False),
        sa.Column("journal_ref_id", sa.BigInteger(), nullable=False),
        sa.Column("location_id", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("type_id", sa.BigInteger(), nullable=False),
        sa.Column("unit_price", sa.Double(), nullable=False),
        sa.Column("extra", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.character_id"], name=op.f("fk_wallet_transactions_character_id")
        ),
        sa.PrimaryKeyConstraint("character_id", "transaction_id", name=op.f("pk_wallet_transactions")),
    )
    op.create_index(
        op.f("ix_wallet_transactions_character_id_date_ms"),
        "wallet_transactions",
        ["character_id", "date_ms"],
        unique=False,
    )
