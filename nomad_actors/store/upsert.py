"""Upserts of rows, for both SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

#: Rows per statement: bounds memory, and respects PostgreSQL's limit of 65,535 parameters.
BATCH_ROWS = 1000


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
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement: Any = dialect.insert(table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in (*keys, *unchanged)}
    if replaced:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=replaced)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    unique = list({tuple(row[key] for key in keys): row for row in rows}.values())
    for start in range(0, len(unique), BATCH_ROWS):
        connection.execute(statement, unique[start : start + BATCH_ROWS])
