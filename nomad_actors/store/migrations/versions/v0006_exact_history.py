"""ISK as exact decimals, what proves the history (coverage, holes, corrections, responses), compressed documents."""

from __future__ import annotations

import zlib

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
#: Documents by table, with its key.
_DOCUMENTS = {"documents": ("character_id", "route"), "listing_pages": ("character_id", "route", "page")}
#: By table: time and id, by which it is read in pages.
_PAGES = {
    "wallet_journal": ("date_ms", "id"),
    "wallet_transactions": ("date_ms", "transaction_id"),
    "market_orders": ("issued_ms", "order_id"),
    "order_events": ("at_ms", "event_id"),
    "industry_jobs": ("start_ms", "job_id"),
    "industry_job_events": ("at_ms", "event_id"),
    "skill_events": ("at_ms", "event_id"),
}
#: Indexes without the id, which those replace.
_REPLACED = {"wallet_journal": "date_ms", "wallet_transactions": "date_ms", "skill_events": "at_ms"}
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
    _index_pages()
    _add_tables()
    for table, keys in _DOCUMENTS.items():
        _make_binary(table)
        _compress(sa.table(table, *map(sa.column, keys), sa.column("body_json")), keys)


def _make_binary(table: str) -> None:
    with op.batch_alter_table(table) as altered:
        altered.alter_column(
            "body_json",
            existing_type=sa.Text(),
            existing_nullable=False,
            type_=sa.LargeBinary(),
            postgresql_using="convert_to(body_json, 'UTF8')",
        )
    if op.get_bind().dialect.name == "postgresql":
        # It would try to compress what is compressed.
        op.execute(f"ALTER TABLE {table} ALTER COLUMN body_json SET STORAGE EXTERNAL")


def _compress(table: sa.TableClause, keys: tuple[str, ...]) -> None:
    """Compress the long documents, a few at a time."""
    columns = [table.c[name] for name in keys]
    query = sa.select(table).where(sa.func.length(table.c.body_json) > 1_000).order_by(*columns).limit(50)
    update = sa.update(table).where(*(table.c[name] == sa.bindparam(f"of_{name}") for name in keys))
    after: tuple[object, ...] | None = None
    while rows := op.get_bind().execute(query if after is None else query.where(sa.tuple_(*columns) > after)).all():
        compressed = [
            {**{f"of_{name}": row._mapping[name] for name in keys}, "body_json": zlib.compress(row.body_json, 3)}
            for row in rows
        ]
        op.get_bind().execute(update, compressed)
        after = tuple(rows[-1])[: len(keys)]


def _index_pages() -> None:
    for table, time in _REPLACED.items():
        op.drop_index(op.f(f"ix_{table}_character_id_{time}"), table)
    for table, (time, key) in _PAGES.items():
        op.create_index(op.f(f"ix_{table}_character_id_{time}_{key}"), table, ["character_id", time, key])


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
