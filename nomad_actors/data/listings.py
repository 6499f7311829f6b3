"""Lists of a character's rows by time and id, read in pages: constant memory, and no transaction between two pages."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from ..errors import BadInput
from ..logs.foreign_text import safe_repr
from ..store import schema
from ..store.database import Database
from . import rows
from .cursors import read_cursor
from .moments import Moment, range_ms, to_datetime

#: Rows of one query.
PAGE_ROWS = 2_000


class _Row(Protocol):
    @property
    def cursor(self) -> str: ...


RowT = TypeVar("RowT", bound=_Row)


class _Time(sa.types.TypeDecorator[Any]):
    """Our columns of milliseconds as aware times."""

    impl = sa.BigInteger
    cache_ok = True

    def process_result_value(self, value: int | None, dialect: object) -> Any:
        return None if value is None else to_datetime(value)


@dataclass(frozen=True)
class Listing(Generic[RowT]):
    """One list: its rows, their table, and the columns of their time and id, by which it is ordered."""

    name: str
    row: Any
    table: sa.Table
    time: str
    key: str

    @property
    def order(self) -> tuple[sa.Column[Any], sa.Column[Any]]:
        return self.table.c[self.time], self.table.c[self.key]

    @cached_property
    def select(self) -> sa.Select[Any]:
        """The query of all rows, with the columns in the order of the row's fields."""
        return sa.select(*(_column(self.table, field) for field in self.row._fields))


def _column(table: sa.Table, field: str) -> sa.ColumnElement[Any]:
    if field in table.c:
        return table.c[field]
    return sa.type_coerce(table.c[f"{field.removesuffix('_date')}_ms"], _Time()).label(field)


JOURNAL: Listing[rows.JournalEntry] = Listing(
    "journal", rows.JournalEntry, schema.wallet_journal, time="date_ms", key="id"
)
TRANSACTIONS: Listing[rows.Transaction] = Listing(
    "transactions", rows.Transaction, schema.wallet_transactions, time="date_ms", key="transaction_id"
)
ORDERS: Listing[rows.Order] = Listing("orders", rows.Order, schema.market_orders, time="issued_ms", key="order_id")
ORDER_EVENTS: Listing[rows.OrderEvent] = Listing(
    "order_events", rows.OrderEvent, schema.order_events, time="at_ms", key="event_id"
)
INDUSTRY_JOBS: Listing[rows.IndustryJob] = Listing(
    "industry_jobs", rows.IndustryJob, schema.industry_jobs, time="start_ms", key="job_id"
)
INDUSTRY_JOB_EVENTS: Listing[rows.IndustryJobEvent] = Listing(
    "industry_job_events", rows.IndustryJobEvent, schema.industry_job_events, time="at_ms", key="event_id"
)
SKILL_HISTORY: Listing[rows.SkillEvent] = Listing(
    "skill_history", rows.SkillEvent, schema.skill_events, time="at_ms", key="event_id"
)


@dataclass(frozen=True)
class Query(Generic[RowT]):
    """Which rows of a listing to read. `only` maps columns to their allowed values, where None allows all."""

    listing: Listing[RowT]
    character_id: int
    from_: Moment | None = None
    to: Moment | None = None
    after: str | None = None
    limit: int | None = None
    newest_first: bool = False

    def read(self, database: Database, only: dict[str, Collection[Any] | None]) -> Iterator[RowT]:
        """Return the rows; arguments are checked now, queries are sent while iterating.

        Raises `BadInput`.
        """
        if self.limit is not None and (not isinstance(self.limit, int) or self.limit < 0):
            raise BadInput(f"limit {safe_repr(self.limit, 100)} is invalid (allowed: 0 or more rows)")
        after = None if self.after is None else read_cursor(self.listing.name, self.after)
        return self._pages(database, self.statement(only), after)

    def statement(self, only: dict[str, Collection[Any] | None]) -> sa.Select[Any]:
        """Return the query of all rows, in order."""
        time, key = self.listing.order
        from_ms, to_ms = range_ms(self.from_, self.to)
        query = self.listing.select.where(self.listing.table.c.character_id == self.character_id)
        if from_ms is not None:
            query = query.where(time >= from_ms)
        if to_ms is not None:
            query = query.where(time < to_ms)
        for name, values in only.items():
            if values is not None:
                column = self.listing.table.c[name]
                query = query.where(column.in_(_storable(column, values)))
        return query.order_by(time.desc(), key.desc()) if self.newest_first else query.order_by(time, key)

    def following(self, query: sa.Select[Any], after: tuple[int, int] | None) -> sa.Select[Any]:
        """Return the query of the rows after one, by its time and id; of all rows for None."""
        if after is None:
            return query
        here, there = sa.tuple_(*self.listing.order), sa.tuple_(*after)
        return query.where(here < there if self.newest_first else here > there)

    def _pages(self, database: Database, query: sa.Select[Any], after: tuple[int, int] | None) -> Iterator[RowT]:
        left = self.limit
        while left is None or left > 0:
            size = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
            with database.read() as connection:
                found = connection.execute(self.following(query, after).limit(size)).all()
            page: list[RowT] = list(map(self.listing.row._make, found))
            yield from page
            if len(page) < size:
                return
            after = read_cursor(self.listing.name, page[-1].cursor)
            left = None if left is None else left - size


def _storable(column: sa.Column[Any], values: Collection[Any]) -> list[Any]:
    """Return the values that a row can have; a text or number alone is one value, not a collection.

    Raises `BadInput` for a value of another type.
    """
    listed = [values] if isinstance(values, (str, int)) else list(values)
    kind = int if isinstance(column.type, sa.BigInteger) else str
    for value in listed:
        if type(value) is not kind:
            raise BadInput(f"{column.name} {safe_repr(value, 100)} is invalid (allowed: {kind.__name__})")
    return [value for value in listed if _can_be_stored(value)]


def _can_be_stored(value: int | str) -> bool:
    """Return whether a value fits a column: 64 bits, or text without NUL and halves of surrogate pairs."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return "\0" not in value and value.encode(errors="replace").decode() == value
