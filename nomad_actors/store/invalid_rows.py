"""Rows with a value that does not fit its column.

SQLite stores any value that a program writes into a column (https://www.sqlite.org/flexrigid.html); PostgreSQL rejects
it. Queries for many rows leave such a row out or show only its readable values, and `nomad doctor` reports it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from . import schema
from .database import Database

#: The end of the year 9999 (epoch ms): Python supports no later time.
MAX_MS = 253_402_300_799_999
#: Tables whose rows are read together with those of other characters or users.
READ_TOGETHER = (
    schema.characters,
    schema.logins,
    schema.sync_state,
    schema.admin_sessions,
    schema.audit_log,
)
#: How many rows of a table are named.
_NAMED = 3


def fits(database: Database, *tables: sa.Table) -> sa.ColumnElement[bool]:
    """Return the SQL condition that every value in a row of `tables` fits its column."""
    return fit(database, *(column for table in tables for column in table.c))


def fit(database: Database, *columns: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """Return the SQL condition that the values of these columns fit; it costs less than that of whole rows."""
    if not database.is_sqlite:
        return sa.true()
    return sa.and_(*(_fits(column) for column in columns))


def invalid_rows(database: Database) -> list[str]:
    """Return a text for each table with rows that do not fit, with the keys of the first few. Raises `Unavailable`."""
    found = []
    with database.unmigrated() as connection:
        for table in READ_TOGETHER:
            keys = [sa.type_coerce(key, sa.String).label(key.name) for key in table.primary_key]
            rows = connection.execute(sa.select(*keys).where(~fits(database, table)).limit(_NAMED + 1)).all()
            named = [", ".join(f"{name} {value}" for name, value in row._mapping.items()) for row in rows]
            if len(rows) > _NAMED:
                named[_NAMED:] = ["and more"]
            if rows:
                found.append(f"{table.name} ({'; '.join(named)})")
    return found


def _fits(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    kind = sa.func.typeof(column)
    good: sa.ColumnElement[bool]
    if isinstance(column.type, sa.JSON):
        # Lists of strings. The validity check comes first: `json_each` fails on invalid JSON.
        each = sa.func.json_each(column).table_valued("type")
        has_others = sa.exists(sa.select(1).select_from(each).where(each.c.type != "text"))
        good = sa.case((sa.func.json_valid(column) == 0, sa.false()), else_=~has_others)
    elif isinstance(column.type, sa.Boolean):
        good = sa.type_coerce(column, sa.Integer).in_([0, 1])
    elif isinstance(column.type, sa.Integer):
        good = kind == "integer"
        if column.name.endswith("_ms"):
            good &= column.between(0, MAX_MS)
    else:
        good = kind == "text"
    return sa.or_(kind == "null", good) if column.nullable else good
