"""How complete the history of each data type is: since when, until when, and in which spans rows may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ..schema import history_coverage, history_holes
from .routes import INDUSTRY_JOBS, JOURNAL, ORDERS, ORDERS_HISTORY, SKILLS, TRANSACTIONS

DataType = Literal["wallet_journal", "wallet_transactions", "market_orders", "industry_jobs", "skill_history"]
DATA_TYPES: tuple[DataType, ...] = get_args(DataType)

#: Why rows may be missing: ESI no longer showed them when it was asked; they could not be stored; the amounts do not
#: lead from one balance to the next; orders that were placed and filled meanwhile were in no response.
Cause = Literal["retention", "set_aside", "balance", "unseen"]
CAUSES: tuple[Cause, ...] = get_args(Cause)

#: The data type of each route's rows, in the order of the requests: orders that are no longer open are then looked up
#: in the closed ones.
DATA_TYPE_BY_ROUTE: Mapping[str, DataType] = MappingProxyType(
    {
        JOURNAL: "wallet_journal",
        TRANSACTIONS: "wallet_transactions",
        ORDERS: "market_orders",
        ORDERS_HISTORY: "market_orders",
        INDUSTRY_JOBS: "industry_jobs",
        SKILLS: "skill_history",
    }
)

#: How long after a list of open orders the next one may be without a hole (`unseen`): the route's usual distance of 20
#: minutes, with room for a spread, a retry and a busy queue.
UNSEEN_AFTER_MS = 3_600_000
_DAY_MS = 86_400_000
#: For how long ESI shows a row of each data type; None: it shows the present state only, which is never too late.
RETENTION_MS: Mapping[str, int | None] = MappingProxyType(
    {
        "wallet_journal": 30 * _DAY_MS,
        "wallet_transactions": 30 * _DAY_MS,
        "market_orders": 90 * _DAY_MS,
        "industry_jobs": 90 * _DAY_MS,
        "skill_history": None,
    }
)


@dataclass(frozen=True)
class Hole:
    """A span of time, both ends included, in which rows may be missing; `can_be_filled` while ESI shows its end.

    What was `unseen` cannot, because a filled order is in no list, nor can a hole of a sold character.
    """

    data_type: str
    from_ms: int
    until_ms: int
    cause: str
    details: str
    found_ms: int
    can_be_filled: bool


@dataclass(frozen=True)
class Completeness:
    """Every row from `complete_since_ms` to before `complete_until_ms` is stored, except in the `holes`.

    Holes may also be later than that. An order that is placed and filled between two lists of the open ones, within
    `UNSEEN_AFTER_MS`, may be missing without a hole. `complete_read_ms` is when ESI's data was last read to its end
    without a row set aside. A time is None if there is none.
    """

    character_id: int
    data_type: str
    complete_since_ms: int | None
    complete_until_ms: int | None
    complete_read_ms: int | None
    holes: tuple[Hole, ...]


def completeness(connection: Connection, character_id: int, now_ms: int) -> dict[str, Completeness]:
    """Return the completeness of every data type of a character, also of those that were never read."""
    holes = _holes(connection, character_id, now_ms)
    table = history_coverage
    found = {
        row.data_type: (row.complete_since_ms, row.complete_until_ms, row.complete_read_ms)
        for row in connection.execute(sa.select(table).where(table.c.character_id == character_id))
    }
    return {
        data_type: Completeness(
            character_id,
            data_type,
            *found.get(data_type, (None, None, None)),
            tuple(hole for hole in holes if hole.data_type == data_type),
        )
        for data_type in DATA_TYPES
    }


def shown_since_ms(data_type: str, read_ms: int) -> int | None:
    """Return since when ESI shows every row of a data type at `read_ms`; None if it shows the present state only."""
    retention_ms = RETENTION_MS[data_type]
    # Its times are seconds, and of the first one some rows may be gone.
    return None if retention_ms is None else read_ms - retention_ms + 1_000


def can_be_filled(data_type: str, cause: str, until_ms: int, now_ms: int) -> bool:
    """Return whether ESI still shows the end of a hole, and what is missing in it."""
    since_ms = None if cause == "unseen" else shown_since_ms(data_type, now_ms)
    return since_ms is not None and until_ms > since_ms


def _holes(connection: Connection, character_id: int, now_ms: int) -> list[Hole]:
    table = history_holes
    query = sa.select(table).where(table.c.character_id == character_id).order_by(table.c.from_ms, table.c.until_ms)
    return [hole_of(row, now_ms, is_sold=character_id < 0) for row in connection.execute(query)]


def hole_of(row: Row[Any], now_ms: int, *, is_sold: bool) -> Hole:
    """Return a row of `history_holes`; nobody is asked for the history of a sold character."""
    can = not is_sold and can_be_filled(row.data_type, row.cause, row.until_ms, now_ms)
    return Hole(row.data_type, row.from_ms, row.until_ms, row.cause, row.details, row.found_ms, can)
