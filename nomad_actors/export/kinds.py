"""What can be exported, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from ..data import Data, listings, rows
from ..data.cursors import read_cursor
from ..data.listings import Listing
from ..data.moments import to_datetime
from ..store.database import Database
from ..store.schema import history_corrections


@dataclass(frozen=True)
class Range:
    """A span of time in milliseconds, `to_ms` not included; None: without that limit."""

    from_ms: int | None = None
    to_ms: int | None = None

    def overlaps(self, from_ms: int, until_ms: int) -> bool:
        """Return whether a part of another span, both ends included, is in this one."""
        begins = self.to_ms is None or from_ms < self.to_ms
        return begins and (self.from_ms is None or until_ms >= self.from_ms)

    def of(self, column: sa.Column[int]) -> list[sa.ColumnElement[bool]]:
        """Return the conditions for a column of times."""
        from_ = [] if self.from_ms is None else [column >= self.from_ms]
        return from_ if self.to_ms is None else [*from_, column < self.to_ms]


@dataclass(frozen=True)
class Kind:
    """One kind of rows, and the data type whose completeness is theirs.

    Rows that never change can be continued after a cursor; others must be read in one go, or the export would mix
    two times.
    """

    row: type[Any]
    data_type: str
    listing: Listing[Any] | None
    never_change: bool
    read: Callable[..., Iterable[Any]]

    def rows(self, data: Data, character_id: int, span: Range, after: str | None) -> Iterable[Any]:
        """Return the rows after the cursor `after`, by time.

        Raises `UnknownCharacter`, `Unavailable`.
        """
        if self.listing is None:
            return self.read(data, character_id)
        from_, to = (None if ms is None else to_datetime(ms) for ms in (span.from_ms, span.to_ms))
        return self.read(data, character_id, from_=from_, to=to, after=after)

    def count(self, database: Database, character_id: int, span: Range, until: str | None = None) -> int | None:
        """Return how many rows there are, or only up to that of the cursor `until`; None if it is not known."""
        if self.listing is None:
            return None
        table, (time, key) = self.listing.table, self.listing.order
        query = sa.select(sa.func.count()).where(table.c.character_id == character_id, *span.of(time))
        if until is not None:
            query = query.where(sa.tuple_(time, key) <= sa.tuple_(*read_cursor(self.listing.name, until)))
        with database.read() as connection:
            return connection.execute(query).scalar_one()

    def corrections(self, database: Database, character_id: int) -> int:
        """Return how often ESI changed a row that never changes."""
        table = history_corrections.c
        same = (table.character_id == character_id, table.data_type == self.data_type)
        with database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).where(*same)).scalar_one()


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "journal": Kind(rows.JournalEntry, "wallet_journal", listings.JOURNAL, True, Data.journal),
        "transactions": Kind(rows.Transaction, "wallet_transactions", listings.TRANSACTIONS, True, Data.transactions),
        "orders": Kind(rows.Order, "market_orders", listings.ORDERS, False, Data.orders),
        "order-events": Kind(rows.OrderEvent, "market_orders", listings.ORDER_EVENTS, True, Data.order_events),
        "industry-jobs": Kind(rows.IndustryJob, "industry_jobs", listings.INDUSTRY_JOBS, False, Data.industry_jobs),
        "industry-job-events": Kind(
            rows.IndustryJobEvent, "industry_jobs", listings.INDUSTRY_JOB_EVENTS, True, Data.industry_job_events
        ),
        "skills": Kind(rows.Skill, "skill_history", None, False, Data.skills),
        "skill-history": Kind(rows.SkillEvent, "skill_history", listings.SKILL_HISTORY, True, Data.skill_history),
    }
)
