"""A range of time of one data type: how many rows are stored, and what is proven of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..schema import industry_jobs, market_orders, skill_events, wallet_journal, wallet_transactions
from .completeness import Completeness, Hole, shown_since_ms

#: The time of a row of each data type.
_TIMES: Mapping[str, sa.Column[Any]] = MappingProxyType(
    {
        "wallet_journal": wallet_journal.c.date_ms,
        "wallet_transactions": wallet_transactions.c.date_ms,
        "market_orders": market_orders.c.issued_ms,
        "industry_jobs": industry_jobs.c.start_ms,
        "skill_history": skill_events.c.at_ms,
    }
)
#: The types whose rows never change and have one time, by which ESI drops them. Orders, jobs and skills change later
#: than the time by which a range chooses them.
_DATED = frozenset({"wallet_journal", "wallet_transactions"})


@dataclass(frozen=True)
class Range:
    """A time from `from_ms` to `to_ms`, both included; None: without a begin or an end."""

    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def is_limited(self) -> bool:
        return self.from_ms is not None or self.to_ms is not None

    def holes(self, found: Completeness) -> list[Hole]:
        """Return the holes that are at least partly in this range."""
        return [
            hole
            for hole in found.holes
            if (self.to_ms is None or hole.from_ms <= self.to_ms)
            and (self.from_ms is None or self.from_ms <= hole.until_ms)
        ]

    def count(self, connection: Connection, character_id: int, data_type: str) -> int:
        """Return how many rows are stored: by date, issue, start, or for skills their changes."""
        time = _TIMES[data_type]
        conditions = [time.table.c.character_id == character_id]
        if self.from_ms is not None:
            conditions.append(time >= self.from_ms)
        if self.to_ms is not None:
            conditions.append(time <= self.to_ms)
        query = sa.select(sa.func.count()).select_from(time.table).where(*conditions)
        return int(connection.execute(query).scalar_one())

    def gains_nothing(self, found: Completeness, now_ms: int) -> bool:
        """Return whether ESI has nothing to add: it shows no time of this range, or all of that is proven complete."""
        if self.to_ms is None or found.data_type not in _DATED:
            return False
        since_ms = max(self.from_ms or 0, shown_since_ms(found.data_type, now_ms) or 0)
        if since_ms > self.to_ms:
            return True
        if found.complete_since_ms is None or found.complete_until_ms is None:
            return False
        is_proven = found.complete_since_ms <= since_ms and self.to_ms < found.complete_until_ms
        return is_proven and not any(hole.can_be_filled for hole in self.holes(found))
