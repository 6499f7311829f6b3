"""Orders, industry jobs and skills as last seen, compared with the last of their events: each change made one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..schema import (
    industry_job_events,
    industry_jobs,
    market_orders,
    order_events,
    skill_events,
    skill_levels,
)
from .problem import Kind, Problem

_OPEN_KINDS = ("placed", "changed", "partly_filled", "reopened")
_REMEDY = "one of the two was changed in the database: compare it with ESI, and correct it or restore a backup"


class Seen(NamedTuple):
    """A row as last seen, and what its last event says that it is; None if it has no event."""

    id: int
    state: Any
    by_event: Any
    event_id: int | None


@dataclass(frozen=True)
class Compared:
    """A table of rows as last seen, and the events of its changes."""

    data_type: str
    noun: str
    key: sa.Column[int]
    #: Its value in the row, and the same value as the events have it.
    state: sa.Column[Any]
    by_event: sa.ColumnElement[Any]
    events: sa.Table

    def query(self, character_id: int) -> sa.Select[tuple[int, Any, Any, int | None]]:
        """Return the query of a character's rows, each with its last event."""
        event, each, table = self.events.c, self.events.alias("each_event").c, self.key.table
        last_id = (
            sa.select(sa.func.max(each.event_id))
            .where(each.character_id == character_id, each[self.key.name] == self.key)
            .correlate(table)
            .scalar_subquery()
        )
        return (
            sa.select(self.key, self.state, self.by_event, event.event_id)
            .select_from(table.outerjoin(self.events, event.event_id == last_id))
            .where(table.c.character_id == character_id)
        )


ORDERS = Compared(
    "market_orders",
    "order",
    market_orders.c.order_id,
    market_orders.c.state,
    sa.case((order_events.c.kind.in_(_OPEN_KINDS), "open"), else_=order_events.c.kind),
    order_events,
)
INDUSTRY_JOBS = Compared(
    "industry_jobs",
    "industry job",
    industry_jobs.c.job_id,
    industry_jobs.c.status,
    industry_job_events.c.new_status,
    industry_job_events,
)
SKILLS = Compared(
    "skill_history",
    "skill",
    skill_levels.c.skill_id,
    skill_levels.c.trained_level,
    skill_events.c.trained_level,
    skill_events,
)


def contradictions(rows: Iterable[Seen], compared: Compared, character_id: int) -> Iterator[Problem]:
    """Yield the rows that are not what their last event says; a row without events says nothing."""
    for row in rows:
        if row.event_id is not None and row.state != row.by_event:
            cause = (
                f"{compared.noun} {row.id} is {row.state}, but by its last event {row.event_id} it is {row.by_event}"
            )
            ids = (row.id, row.event_id)
            yield Problem(Kind.STATE, character_id, compared.data_type, cause, _REMEDY, ids=ids)
