"""Upserts of rows, for both SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .bulk_copy import copied

#: Parameters of one statement: PostgreSQL allows 65,535.
BATCH_ROWS = 1000
#: From this number on PostgreSQL gets the rows with COPY, which costs a temporary table; and how many at a time.
_COPIED_ROWS, _MOST_COPIED_ROWS = 100, 10_000


def upsert(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    unchanged: Sequence[str] = (),
    keys: Sequence[str] = (),
) -> None:
    """Insert `rows`, which all have the same columns; for an existing key, replace all columns except `unchanged`.

    The key is the primary key, or the unique columns `keys`. If two rows have the same key, the last one is used.
    """
    if not rows:
        return
    # Imported here: the dialects take long to import, and programs that only show jobs do not need them.
    from sqlalchemy.dialects import postgresql, sqlite

    keys = keys or [column.name for column in table.primary_key]
    is_postgresql = connection.dialect.name == "postgresql"
    statement: Any = (postgresql if is_postgresql else sqlite).insert(table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in (*keys, *unchanged)}
    if replaced:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=replaced)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    is_copied = is_postgresql and len(rows) >= _COPIED_ROWS
    execute, size = (_copy, _MOST_COPIED_ROWS) if is_copied else (_execute, BATCH_ROWS)
    key_of = itemgetter(*keys)
    for start in range(0, len(rows), size):
        # No statement may change a row twice.
        unique = {key_of(row): row for row in rows[start : start + size]}
        execute(connection, table, statement, list(unique.values()))


def _execute(connection: Connection, _table: sa.Table, statement: Any, rows: list[Mapping[str, Any]]) -> None:
    connection.execute(statement, rows)


def _copy(connection: Connection, table: sa.Table, statement: Any, rows: list[Mapping[str, Any]]) -> None:
    columns = [table.c[name] for name in rows[0]]
    with copied(connection, columns, rows) as selected:
        connection.execute(statement.from_select(columns, selected))
