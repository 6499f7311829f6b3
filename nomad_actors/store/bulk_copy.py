"""Many rows into PostgreSQL: COPY into a temporary table takes half the time of single statements, or less.

In the binary format: PostgreSQL's errors about rows of text contain the row, and errors are logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, ExecutionContext

from .. import exact_json

_OPTION = "nomad_copy"


@contextmanager
def copied(
    connection: Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[Mapping[str, Any]]
) -> Iterator[sa.Select[Any]]:
    """Copy these columns of `rows` to a temporary table for a `with` block; yield the query that reads them."""
    temporary = _temporary_table(columns)
    connection.execute(sa.schema.CreateTable(temporary))
    names = ", ".join(map(connection.dialect.identifier_preparer.format_column, temporary.c))
    connection.exec_driver_sql(
        f"COPY {temporary.name} ({names}) FROM STDIN (FORMAT BINARY)",
        execution_options={_OPTION: (_types(connection, temporary), _values(connection, columns, rows))},
    )
    yield sa.select(*(sa.cast(temporary.c[each.name], each.type) for each in columns))
    # If the block fails, the transaction does, and PostgreSQL drops the table with it.
    connection.execute(sa.schema.DropTable(temporary))


def execute_copy(cursor: Any, statement: str, _parameters: Any, context: ExecutionContext | None) -> bool:
    """Execute a statement of `copied`, as a listener of SQLAlchemy's event `do_execute`, which handles its errors."""
    found = context.execution_options.get(_OPTION) if context is not None else None
    if found is None:
        return False
    types, rows = found
    with cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
    return True


def _temporary_table(columns: Sequence[sa.Column[Any]]) -> sa.Table:
    # JSON as text: the driver would encode it again.
    copies = [sa.Column(each.name, sa.Text() if _is_json(each) else each.type) for each in columns]
    return sa.Table("nomad_copied_rows", sa.MetaData(), *copies, prefixes=["TEMPORARY"])


def _types(connection: Connection, table: sa.Table) -> list[str]:
    """Return the names that the driver has for the types of the columns."""
    return [each.type.compile(connection.dialect).partition("(")[0].lower() for each in table.c]


def _values(
    connection: Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[Mapping[str, Any]]
) -> Iterator[list[Any]]:
    conversions = [(index, found) for index, each in enumerate(columns) if (found := _conversion(connection, each))]
    values_of = itemgetter(*(each.name for each in columns))
    for row in rows:
        values = list(values_of(row))
        for index, convert in conversions:
            if values[index] is not None:
                values[index] = convert(values[index])
        yield values


def _conversion(connection: Connection, column: sa.Column[Any]) -> Any:
    if _is_json(column):
        return exact_json.dumps
    return column.type.dialect_impl(connection.dialect).bind_processor(connection.dialect)


def _is_json(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.JSON)
