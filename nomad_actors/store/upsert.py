"""Inserting rows or updating them on their key, in the words that SQLite and PostgreSQL share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

#: Rows in one statement's batch: bounded memory, and PostgreSQL's limit of 65,535 parameters kept.
BATCH_ROWS = 1000


def upsert(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    keep: Sequence[str] = (),
) -> None:
    """Write `rows`, which all have the same columns; on an existing key everything but `keep` is replaced.

    Of two rows with one key in `rows` the last stands.
    """
    if not rows:
        return
    # Here, not above: the dialects take long to import, and who only shows jobs needs none.
    from sqlalchemy.dialects import postgresql, sqlite

    keys = [column.name for column in table.primary_key]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement: Any = dialect.insert(table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in (*keys, *keep)}
    if replaced:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=replaced)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    unique = list({tuple(row[key] for key in keys): row for row in rows}.values())
    for start in range(0, len(unique), BATCH_ROWS):
        connection.execute(statement, unique[start : start + BATCH_ROWS])
