"""How complete the history is, per character and data type: since when, until when, and the holes between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..schema import history_coverage, history_holes

_DAY_MS = 86_400_000
#: How long ESI keeps the rows of each data type; None: it shows only the present.
RETENTION_MS: Mapping[str, int | None] = MappingProxyType(
    {
        "wallet_journal": 30 * _DAY_MS,
        "wallet_transactions": 30 * _DAY_MS,
        "market_orders": 90 * _DAY_MS,
        "industry_jobs": 90 * _DAY_MS,
        "skill_history": None,
    }
)
DATA_TYPES = tuple(RETENTION_MS)


@dataclass(frozen=True)
class Hole:
    """One span of time, both ends excluded, in which rows are missing or may be."""

    data_type: str
    from_ms: int
    until_ms: int
    #: retention, set_aside, balance
    cause: str
    details: str
    found_ms: int
    #: Whether ESI still shows the whole span.
    can_be_filled: bool


@dataclass(frozen=True)
class Completeness:
    """Which time of one data type is proven complete, except for the holes; None before the first complete read."""

    character_id: int
    data_type: str
    complete_since_ms: int | None
    complete_until_ms: int | None
    complete_read_ms: int | None
    holes: tuple[Hole, ...]


def completeness(connection: Connection, character_id: int, now_ms: int) -> dict[str, Completeness]:
    """Return the completeness of every data type, also of those that were never read."""
    covered = {
        row.data_type: row
        for row in connection.execute(
            sa.select(history_coverage).where(history_coverage.c.character_id == character_id)
        )
    }
    holes = _holes(connection, character_id, now_ms)
    return {
        each: Completeness(
            character_id,
            each,
            getattr(covered.get(each), "complete_since_ms", None),
            getattr(covered.get(each), "complete_until_ms", None),
            getattr(covered.get(each), "complete_read_ms", None),
            tuple(hole for hole in holes if hole.data_type == each),
        )
        for each in DATA_TYPES
    }


def _holes(connection: Connection, character_id: int, now_ms: int) -> list[Hole]:
    found = connection.execute(
        sa.select(history_holes).where(history_holes.c.character_id == character_id).order_by(history_holes.c.from_ms)
    )
    return [
        Hole(row.data_type, row.from_ms, row.until_ms, row.cause, row.details, row.found_ms, _is_kept(row, now_ms))
        for row in found
    ]


def _is_kept(row: sa.Row[tuple[object, ...]], now_ms: int) -> bool:
    kept_ms = RETENTION_MS.get(row.data_type)
    return kept_ms is not None and row.from_ms >= now_ms - kept_ms
