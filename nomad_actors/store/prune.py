"""Deletes documents and history that are older than the operator keeps them; by default everything is kept for ever.

One transaction deletes at most `BATCH_ROWS` rows of one character, with the events and corrections of these rows, and
moves the time since which its history is complete: at whatever moment a process is killed, the history is what it says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .character_lock import lock
from .database import Database
from .schema import (
    characters,
    documents,
    history_corrections,
    history_coverage,
    history_holes,
    industry_job_events,
    industry_jobs,
    market_orders,
    order_events,
    set_aside_rows,
    skill_events,
    skill_totals,
    sync_state,
    wallet_journal,
    wallet_transactions,
)
from .upsert import BATCH_ROWS

Condition = sa.ColumnElement[bool]


@dataclass(frozen=True)
class Cutoffs:
    """Before which times (ms) documents and history are deleted; None: they are kept for ever."""

    documents_ms: int | None
    history_ms: int | None


@dataclass(frozen=True)
class Pruned:
    """How many rows of a table are old, and the time (ms) of the oldest other one (None: there is none)."""

    table: str
    rows: int
    oldest_kept_ms: int | None


@dataclass(frozen=True)
class _Rule:
    """Which rows of a table are old, by their time; those with a `data_type` are part of a history that is complete."""

    table: sa.Table
    at_ms: sa.ColumnElement[int]
    data_type: str | None = None
    only: Condition | None = None
    events: sa.Table | None = None

    @property
    def key(self) -> sa.Column[Any]:
        """The column that identifies a row of a character."""
        return next(each for each in self.table.primary_key if each.name != "character_id")

    def is_old(self, before_ms: int) -> Condition:
        is_before = self.at_ms < before_ms
        return is_before if self.only is None else sa.and_(is_before, self.only)


_later = skill_totals.alias("later")
_HISTORY = (
    _Rule(wallet_journal, wallet_journal.c.date_ms, "wallet_journal"),
    _Rule(wallet_transactions, wallet_transactions.c.date_ms, "wallet_transactions"),
    # What is not over is kept: it has its present state in no other row.
    _Rule(market_orders, market_orders.c.as_of_ms, "market_orders", market_orders.c.state != "open", order_events),
    _Rule(
        industry_jobs,
        industry_jobs.c.as_of_ms,
        "industry_jobs",
        industry_jobs.c.status.in_(("delivered", "cancelled", "reverted")),
        industry_job_events,
    ),
    _Rule(skill_events, skill_events.c.at_ms, "skill_history"),
    _Rule(
        skill_totals,
        skill_totals.c.at_ms,
        "skill_history",
        sa.exists().where(_later.c.character_id == skill_totals.c.character_id, _later.c.at_ms > skill_totals.c.at_ms),
    ),
    _Rule(set_aside_rows, set_aside_rows.c.last_seen_ms),
)
#: The time of a document's data; an archive has no sync state, and its documents are as old as it is at least.
_DOCUMENT_MS = sa.func.coalesce(
    sa.select(sync_state.c.as_of_ms)
    .where(sync_state.c.character_id == documents.c.character_id, sync_state.c.route == documents.c.route)
    .scalar_subquery(),
    sa.select(characters.c.state_changed_ms)
    .where(characters.c.character_id == documents.c.character_id)
    .scalar_subquery(),
)
_DOCUMENTS = _Rule(documents, _DOCUMENT_MS)


def count_old(database: Database, cutoffs: Cutoffs) -> list[Pruned]:
    """Return what `prune` would delete, without the events and corrections that go with their rows.

    Raises `Unavailable`.
    """
    found = []
    for rule, before_ms in _rules(cutoffs):
        is_old = rule.is_old(before_ms)
        count = sa.func.count(sa.case((is_old, 1)))
        query = sa.select(count, sa.func.min(sa.case((~is_old, rule.at_ms)))).select_from(rule.table)
        with database.read() as connection:
            found.append(Pruned(rule.table.name, *connection.execute(query).one()))
    return found


def prune(
    database: Database,
    cutoffs: Cutoffs,
    *,
    until_mono: float = float("inf"),
    report: Callable[[str, int], None] = lambda table, rows: None,
) -> int:
    """Delete old rows in short transactions until none is left, or until `until_mono`; return how many.

    `report` gets the table and number of each transaction's rows. Raises `Unavailable`; what is deleted until then
    stays deleted.
    """
    total = 0
    for rule, before_ms in _rules(cutoffs):
        for character_id in _characters(database, rule, before_ms):
            deleted = BATCH_ROWS
            while deleted == BATCH_ROWS:
                if time.monotonic() >= until_mono:
                    return total
                with database.write() as connection:
                    deleted = _delete_batch(connection, rule, character_id, before_ms)
                report(rule.table.name, deleted)
                total += deleted
    return total


def _rules(cutoffs: Cutoffs) -> Iterator[tuple[_Rule, int]]:
    if cutoffs.history_ms is not None:
        yield from ((rule, cutoffs.history_ms) for rule in _HISTORY)
    if cutoffs.documents_ms is not None:
        yield _DOCUMENTS, cutoffs.documents_ms


def _characters(database: Database, rule: _Rule, before_ms: int) -> list[int]:
    """Return the characters with old rows, found in one pass."""
    query = sa.select(rule.table.c.character_id).where(rule.is_old(before_ms)).distinct()
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def _delete_batch(connection: Connection, rule: _Rule, character_id: int, before_ms: int) -> int:
    lock(connection, character_id)
    is_character = rule.table.c.character_id == character_id
    query = sa.select(rule.key).where(is_character, rule.is_old(before_ms)).limit(BATCH_ROWS)
    keys = connection.execute(query).scalars().all()
    if not keys:
        return 0
    if rule.table is documents:
        _forget_validators(connection, character_id, keys)
    if rule.events is not None:
        of_row = rule.events.c[rule.key.name].in_(keys)
        connection.execute(sa.delete(rule.events).where(rule.events.c.character_id == character_id, of_row))
    if rule.data_type is not None:
        _move_coverage(connection, rule.data_type, character_id, before_ms)
    if rule.table.name == rule.data_type:
        # Of skills there are only events, which are never corrected.
        corrections = history_corrections.c
        same = (corrections.character_id == character_id, corrections.data_type == rule.data_type)
        connection.execute(sa.delete(history_corrections).where(*same, corrections.row_id.in_(keys)))
    connection.execute(sa.delete(rule.table).where(is_character, rule.key.in_(keys)))
    return len(keys)


def _forget_validators(connection: Connection, character_id: int, routes: Sequence[Any]) -> None:
    """Request these documents in full the next time: a "not modified" response would not bring them back."""
    same = (sync_state.c.character_id == character_id, sync_state.c.route.in_(routes))
    connection.execute(sa.update(sync_state).where(*same).values(etag=None, last_modified=None, fresh_until_ms=None))


def _move_coverage(connection: Connection, data_type: str, character_id: int, before_ms: int) -> None:
    """Say that nothing before `before_ms` is complete; holes before it are part of that."""
    columns = history_coverage.c
    since_ms = sa.case((columns.complete_until_ms < before_ms, columns.complete_until_ms), else_=before_ms)
    connection.execute(
        sa.update(history_coverage)
        .where(columns.character_id == character_id, columns.data_type == data_type)
        .where(columns.complete_since_ms < since_ms)
        .values(complete_since_ms=since_ms)
    )
    is_before = history_holes.c.until_ms <= before_ms
    same = (history_holes.c.character_id == character_id, history_holes.c.data_type == data_type)
    connection.execute(sa.delete(history_holes).where(*same, is_before))
