"""Saves what a response proves, in the transaction that saves its rows and has locked the character.

Market orders come from two routes, so both prove a time only together: up to the older of the two. They begin with the
first of these times, because orders that were filled before are in no response.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ...http_date import http_date_ms
from ..schema import characters, history_coverage, history_holes, sync_state, wallet_journal, wallet_transactions
from ..upsert import upsert
from .balances import Ledger
from .completeness import DATA_TYPE_BY_ROUTE, shown_since_ms
from .coverage import Coverage, Span, balanced, extended, marked, with_unseen
from .routes import JOURNAL, ORDERS, ORDERS_HISTORY, TRANSACTIONS
from .rows import Snapshot, to_ms

_OTHER = MappingProxyType({ORDERS: ORDERS_HISTORY, ORDERS_HISTORY: ORDERS})
#: The ids of rows with a time to which they belong; orders and jobs change at any time, whatever their own times are.
_DATED: Mapping[str, sa.Column[Any]] = MappingProxyType(
    {JOURNAL: wallet_journal.c.id, TRANSACTIONS: wallet_transactions.c.transaction_id}
)

_HOLE = tuple(history_holes.c[each.name] for each in fields(Span))
#: Built once, and one row a hole. By the character, because there may be holes without coverage.
_COVERAGE = (
    sa.select(
        history_coverage.c.complete_since_ms,
        history_coverage.c.complete_until_ms,
        history_coverage.c.complete_read_ms,
        *_HOLE,
    )
    .select_from(characters)
    .outerjoin(
        history_coverage,
        sa.and_(
            history_coverage.c.character_id == characters.c.character_id,
            history_coverage.c.data_type == sa.bindparam("of_type"),
        ),
    )
    .outerjoin(
        history_holes,
        sa.and_(
            history_holes.c.character_id == characters.c.character_id,
            history_holes.c.data_type == sa.bindparam("of_type"),
        ),
    )
    .where(characters.c.character_id == sa.bindparam("of_character"))
    .order_by(history_holes.c.from_ms, history_holes.c.until_ms)
)


def prove(connection: Connection, snapshot: Snapshot) -> None:
    """Save what a complete response, or one with rows set aside, proves."""
    known = read_coverage(connection, snapshot.character_id, DATA_TYPE_BY_ROUTE[snapshot.route])
    _save(connection, snapshot, known, _with_response(connection, known, snapshot))


def prove_with_balances(
    connection: Connection, snapshot: Snapshot, ledger: Callable[[], Ledger | None], *, has_changed: bool
) -> None:
    """Save what a response of the journal proves; its `ledger` is made if its balances can show anything new."""
    known = read_coverage(connection, snapshot.character_id, DATA_TYPE_BY_ROUTE[snapshot.route])
    found = _with_response(connection, known, snapshot)
    entries = ledger() if has_changed or known.holes or known.until_ms is None else None
    _save(connection, snapshot, known, found if entries is None else balanced(found, entries, snapshot.read_at_ms))


def confirms_complete(connection: Connection, snapshot: Snapshot) -> bool:
    """Return whether the document that a snapshot without a body confirms has every row."""
    state = _state(connection, snapshot.character_id, snapshot.route)
    return state is None or not state.set_aside


def last_as_of_ms(connection: Connection, snapshot: Snapshot) -> int | None:
    """Return when the data of the response before `snapshot` was last true."""
    state = _state(connection, snapshot.character_id, snapshot.route)
    return None if state is None else state.as_of_ms


def _with_response(connection: Connection, known: Coverage, snapshot: Snapshot) -> Coverage:
    known = known.taken_back(snapshot.shown_at_ms, snapshot.as_of_ms)
    found = _extended(connection, known, snapshot)
    if snapshot.route != ORDERS or not snapshot.is_complete or not snapshot.is_newest:
        return found
    since_ms = _listed_ms(connection, snapshot, known, found)
    return found if since_ms is None else with_unseen(found, since_ms, snapshot.as_of_ms, snapshot.read_at_ms)


def _listed_ms(connection: Connection, snapshot: Snapshot, known: Coverage, found: Coverage) -> int | None:
    """Return when the open orders were last listed without a row set aside, or a time that is proven instead."""
    last = _state(connection, snapshot.character_id, snapshot.route)
    if last is not None and last.as_of_ms is not None and not last.set_aside:
        return int(last.as_of_ms)
    return found.since_ms if known.until_ms is None else known.until_ms


def _extended(connection: Connection, known: Coverage, snapshot: Snapshot) -> Coverage:
    window = _window(connection, snapshot, known)
    if window is None:
        return known
    (since_ms, until_ms), now_ms = window, snapshot.read_at_ms
    if snapshot.is_complete:
        return extended(known, since_ms, until_ms, read_ms=now_ms, found_ms=now_ms)
    if not snapshot.is_newest:
        return known
    spans = [
        _span(known, snapshot, row, since_ms) for row in snapshot.set_aside if not _is_stored(connection, snapshot, row)
    ]
    # A row that is late, of a time that was proven already, does not keep the later time from being proven.
    until_ms = min([until_ms, *(span.from_ms for span in spans if not known.proves(span.from_ms))])
    if since_ms < until_ms:
        known = extended(known, since_ms, until_ms, read_ms=None, found_ms=now_ms)
    return marked(known, spans)


def _window(connection: Connection, snapshot: Snapshot, known: Coverage) -> tuple[int, int] | None:
    """Return the time that ESI shows in `snapshot`: since when, and until when it was true."""
    data_type, shown_ms, as_of_ms = DATA_TYPE_BY_ROUTE[snapshot.route], snapshot.shown_at_ms, snapshot.as_of_ms
    if snapshot.route in _OTHER:
        other = _state(connection, snapshot.character_id, _OTHER[snapshot.route])
        if other is None or other.as_of_ms is None or other.set_aside:
            return None
        as_of_ms = min(as_of_ms, other.as_of_ms)
        if snapshot.route == ORDERS:
            shown_ms = max(other.synced_ms, http_date_ms(other.last_modified) or 0)
    since_ms = shown_since_ms(data_type, shown_ms)
    if since_ms is None:
        # Differences between two responses miss nothing that lasted.
        since_ms = as_of_ms if known.until_ms is None else known.until_ms
    elif snapshot.route in _OTHER:
        since_ms = max(since_ms, as_of_ms if known.since_ms is None else known.since_ms)
    return since_ms, as_of_ms


def _span(known: Coverage, snapshot: Snapshot, row: Any, since_ms: int) -> Span:
    """Return the time to which a row that was set aside may belong."""
    as_of_ms, now_ms = snapshot.as_of_ms, snapshot.read_at_ms
    date_ms = _date_ms(row) if snapshot.route in _DATED else None
    if date_ms is not None and date_ms <= as_of_ms:
        return Span(date_ms, date_ms, "set_aside", "a row of this time could not be stored", now_ms)
    from_ms = min(since_ms if known.until_ms is None else known.until_ms, as_of_ms)
    return Span(from_ms, as_of_ms, "set_aside", "a row of an unknown time could not be stored", now_ms)


def _is_stored(connection: Connection, snapshot: Snapshot, row: Any) -> bool:
    """Return whether a row that was set aside is known from an earlier response."""
    column = _DATED.get(snapshot.route)
    row_id = row.get(column.name) if column is not None and isinstance(row, Mapping) else None
    if column is None or type(row_id) is not int or not -(2**63) <= row_id < 2**63:
        return False
    same = (column.table.c.character_id == snapshot.character_id, column == row_id)
    return connection.execute(sa.select(column).where(*same)).first() is not None


def _date_ms(row: Any) -> int | None:
    try:
        return to_ms(row["date"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _state(connection: Connection, character_id: int, route: str) -> Row[*tuple[Any, ...]] | None:
    columns = (sync_state.c.as_of_ms, sync_state.c.synced_ms, sync_state.c.set_aside, sync_state.c.last_modified)
    same = (sync_state.c.character_id == character_id, sync_state.c.route == route)
    return connection.execute(sa.select(*columns).where(*same)).one_or_none()


def read_coverage(connection: Connection, character_id: int, data_type: str) -> Coverage:
    """Return what is proven of a data type of a character."""
    rows = connection.execute(_COVERAGE, {"of_character": character_id, "of_type": data_type}).all()
    holes = tuple(Span(*row[3:]) for row in rows if row.from_ms is not None)
    if not rows:
        return Coverage()
    first = rows[0]
    return Coverage(first.complete_since_ms, first.complete_until_ms, first.complete_read_ms, holes)


def _save(connection: Connection, snapshot: Snapshot, before: Coverage, after: Coverage) -> None:
    data_type = DATA_TYPE_BY_ROUTE[snapshot.route]
    key = {"character_id": snapshot.character_id, "data_type": data_type}
    if replace(after, holes=()) != replace(before, holes=()):
        times = (("complete_since_ms", after.since_ms), ("complete_until_ms", after.until_ms))
        upsert(connection, history_coverage, [{**key, **dict(times), "complete_read_ms": after.read_ms}])
    if set(after.holes) != set(before.holes):
        connection.execute(sa.delete(history_holes).where(*_same(history_holes, snapshot.character_id, data_type)))
        if after.holes:
            connection.execute(sa.insert(history_holes), [{**key, **vars(hole)} for hole in after.holes])


def _same(table: sa.Table, character_id: int, data_type: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.character_id == character_id, table.c.data_type == data_type
