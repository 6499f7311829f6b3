"""ISK as exact decimals, and what proves the history: coverage, holes, corrections, the responses behind events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
#: On SQLite, which has no exact decimals, the number of hundredths.
_ISK = sa.Numeric(20, 2).with_variant(sa.BigInteger, "sqlite")
_LARGEST_ISK = 92_233_720_368_547_757
_AMOUNTS = {
    "wallet_journal": ("amount", "balance", "tax"),
    "wallet_transactions": ("unit_price",),
    "market_orders": ("price", "escrow"),
    "industry_jobs": ("cost",),
}
_EVENTS = ("order_events", "industry_job_events", "skill_events")


def upgrade() -> None:
    """Convert the amounts, and add columns and tables; older events name no response."""
    for table, columns in _AMOUNTS.items():
        _make_exact(table, columns)
    for table in _EVENTS:
        with op.batch_alter_table(table) as events:
            events.add_column(sa.Column("route", sa.String(200), nullable=True))
            events.add_column(sa.Column("request_id", sa.Text(), nullable=True))
    for table in ("industry_jobs", "industry_job_events", "skill_events"):
        with op.batch_alter_table(table) as changed:
            changed.add_column(sa.Column("inferred", sa.Boolean(), nullable=False, server_default=sa.false()))
        with op.batch_alter_table(table) as changed:
            changed.alter_column("inferred", server_default=None)
    # What a collection with dates left out is in no table: request it in full once more.
    op.execute("UPDATE sync_state SET etag = NULL, last_modified = NULL, fresh_until_ms = NULL WHERE NOT rows_complete")
    with op.batch_alter_table("sync_state") as state:
        state.drop_column("rows_complete")
    _add_tables()


def _make_exact(table: str, columns: tuple[str, ...]) -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name in columns:
        op.execute(f"UPDATE {table} SET {name} = sign({name}) * {_LARGEST_ISK} WHERE abs({name}) > {_LARGEST_ISK}")
        if is_sqlite:
            op.execute(f"UPDATE {table} SET {name} = round({name} * 100)")
    with op.batch_alter_table(table) as altered:
        for name in columns:
            # As text: PostgreSQL's own conversion from double keeps 15 digits.
            altered.alter_column(
                name, existing_type=sa.Double(), type_=_ISK, postgresql_using=f"{name}::text::numeric(20, 2)"
            )


def _add_tables() -> None:
    op.create_table(
        "history_coverage",
        sa.Column("character_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data_type", sa.String(40), nullable=False),
        sa.Column("complete_since_ms", sa.BigInteger(), nullable=False),
        sa.Column("complete_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("complete_read_ms", sa.BigInteger(), nullable=True),
        _of_character("history_coverage"),
        sa.PrimaryKeyConstraint("character_id", "data_type", name=op.f("pk_history_coverage")),
    )
    op.create_table(
        "history_holes",
        sa.Column("hole_id", _COUNTER, nullable=False),
        sa.Column("character_id", sa.BigInteger(), nullable=False),
        sa.Column("data_type", sa.String(40), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(20), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("found_ms", sa.BigInteger(), nullable=False),
        _of_character("history_holes"),
        sa.PrimaryKeyConstraint("hole_id", name=op.f("pk_history_holes")),
    )
    op.create_index(
        op.f("ix_history_holes_character_id_data_type_from_ms"),
        "history_holes",
        ["character_id", "data_type", "from_ms"],
    )
    op.create_table(
        "history_corrections",
        sa.Column("entry_id", _COUNTER, nullable=False),
        sa.Column("character_id", sa.BigInteger(), nullable=False),
        sa.Column("data_type", sa.String(40), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("field", sa.String(60), nullable=False),
        sa.Column("old_value", sa.Text(), nullable=True),
        sa.Column("new_value", sa.Text(), nullable=True),
        sa.Column("corrected_ms", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.String(200), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        _of_character("history_corrections"),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_history_corrections")),
    )
    op.create_index(
        op.f("ix_history_corrections_character_id_data_type_row_id"),
        "history_corrections",
        ["character_id", "data_type", "row_id"],
    )


def _of_character(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["character_id"], ["characters.character_id"], name=op.f(f"fk_{table}_character_id"))
