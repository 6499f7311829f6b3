"""Market orders and their outcomes.

ESI lists open orders and, in another response, those cancelled or expired in the last 90 days; a filled order is in
neither. So an open order that is not in a complete, newer response is marked as missing. Only if an even newer response
of the history does not contain it either, it was filled, or has expired if its duration had passed; if the history no
longer shows all the time since the order was last seen, it is closed, and nobody knows how. A response with a row that
was set aside is not complete: the order may be in that row, so nothing is concluded from its absence.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ..schema import market_orders, order_events
from ..upsert import upsert
from .completeness import RETENTION_MS
from .proofs import last_as_of_ms, prove
from .rows import Changes, RowKind, Snapshot, stored_by_key

#: What an order can be; closed: nobody saw how it ended.
STATES = ("open", "cancelled", "expired", "filled", "closed")
_DAY_MS = 86_400_000
_HISTORY_MS = RETENTION_MS["market_orders"] or 0
_ORDERS = RowKind(
    market_orders,
    dates={"issued": "issued_ms"},
    computed=("state", "inferred", "missing_since_ms", "as_of_ms"),
    # Missing means false.
    optional=("is_buy_order",),
    ignored=("state",),
)
_WATCHED = ("price", "volume_remain", "volume_total", "issued_ms", "duration")


def absorb_open(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the open orders of `snapshot` and their changes, and mark the missing ones if it is complete."""
    stored = stored_by_key(connection, market_orders, "order_id", snapshot.character_id)
    listed = [_read(snapshot, each, "open") for each in snapshot.body]
    rows, events = [], []
    for row in listed:
        old = stored.get(row["order_id"])
        if old is None or _may_be_open(old, snapshot):
            rows.append(row)
            events += _events_of_open(snapshot, row, old)
    upsert(connection, market_orders, rows)
    if snapshot.is_complete:
        absent = stored.keys() - {row["order_id"] for row in listed}
        _mark_missing(connection, snapshot, [stored[order_id] for order_id in absent])
    prove(connection, snapshot)
    return _record(connection, rows, stored, events)


def absorb_closed(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the cancelled and expired orders of `snapshot`, and close the missing ones if it is complete."""
    stored = stored_by_key(connection, market_orders, "order_id", snapshot.character_id)
    rows = [_read(snapshot, each, each.get("state", "expired")) for each in snapshot.body]
    events = []
    for row in rows:
        old = stored.get(row["order_id"])
        # A closed order stays closed, so an older response is valid too.
        if old is not None and snapshot.is_older_than(old.as_of_ms):
            row["as_of_ms"] = old.as_of_ms
        if old is None or old.state != row["state"]:
            events.append(_event(snapshot, row, row["state"], _difference(row, old)))
    upsert(connection, market_orders, rows)
    changes = _record(connection, rows, stored, events)
    if snapshot.is_complete:
        changes += decide_missing(connection, snapshot, exclude={row["order_id"] for row in rows})
    prove(connection, snapshot)
    return changes


def decide_missing(connection: Connection, snapshot: Snapshot, exclude: Collection[int] = ()) -> Changes:
    """Close the missing orders that the history, which is complete in `snapshot`, does not contain either."""
    missing = connection.execute(
        sa.select(market_orders).where(
            market_orders.c.character_id == snapshot.character_id,
            market_orders.c.state == "open",
            # A clock that was ahead has marked what has been missing since later than now.
            ~market_orders.c.missing_since_ms.between(snapshot.as_of_ms + 1, snapshot.read_at_ms),
        )
    ).all()
    events = [_close(connection, snapshot, row) for row in missing if row.order_id not in exclude]
    return _record(connection, [], {}, events) + Changes(changed=len(events))


def _read(snapshot: Snapshot, each: Any, state: str) -> dict[str, Any]:
    row = _ORDERS.read(snapshot.character_id, each)
    row["is_buy_order"] = bool(row["is_buy_order"])
    return {**row, "state": state, "inferred": False, "missing_since_ms": None, "as_of_ms": snapshot.as_of_ms}


def _may_be_open(old: Row[Any], snapshot: Snapshot) -> bool:
    """Return whether a response that lists this order as open is valid."""
    is_known_closed = old.state != "open" and not old.inferred
    return not is_known_closed and not snapshot.is_older_than(old.as_of_ms)


def _events_of_open(snapshot: Snapshot, row: dict[str, Any], old: Row[Any] | None) -> list[dict[str, Any]]:
    if old is None:
        return [_event(snapshot, row, "placed", None)]
    changes = _difference(row, old)
    if old.state != "open":
        return [_event(snapshot, row, "reopened", changes)]
    if not changes:
        return []
    only_filled = changes.keys() == {"volume_remain"} and row["volume_remain"] < old.volume_remain
    return [_event(snapshot, row, "partly_filled" if only_filled else "changed", changes)]


def _difference(row: dict[str, Any], old: Row[Any] | None) -> dict[str, Any] | None:
    if old is None:
        return None
    before = old._mapping
    return {name: [before[name], row[name]] for name in _WATCHED if before[name] != row[name]} or None


def _mark_missing(connection: Connection, snapshot: Snapshot, absent: list[Row[Any]]) -> None:
    newly = [
        row.order_id
        for row in absent
        if row.state == "open"
        and (row.missing_since_ms is None or row.missing_since_ms > snapshot.read_at_ms)
        and not snapshot.as_of_ms <= row.as_of_ms <= snapshot.read_at_ms
    ]
    if not newly:
        return
    # It was open as long as the response before was valid, which 304s may have confirmed for weeks.
    valid_ms = min(last_as_of_ms(connection, snapshot) or 0, snapshot.as_of_ms)
    is_newer = market_orders.c.as_of_ms.between(valid_ms, snapshot.read_at_ms)
    seen_ms = sa.case((is_newer, market_orders.c.as_of_ms), else_=valid_ms)
    connection.execute(
        sa.update(market_orders)
        .where(market_orders.c.character_id == snapshot.character_id, market_orders.c.order_id.in_(newly))
        .values(missing_since_ms=snapshot.as_of_ms, as_of_ms=seen_ms)
    )


def _close(connection: Connection, snapshot: Snapshot, row: Row[Any]) -> dict[str, Any]:
    missing_ms = min(row.missing_since_ms, snapshot.as_of_ms)
    state = _outcome(snapshot, row, missing_ms)
    remain = 0 if state == "filled" else row.volume_remain
    connection.execute(
        sa.update(market_orders)
        .where(market_orders.c.character_id == row.character_id, market_orders.c.order_id == row.order_id)
        .values(state=state, inferred=True, volume_remain=remain)
    )
    changes = {"volume_remain": [row.volume_remain, 0]} if state == "filled" else None
    event = snapshot.event(at_ms=missing_ms, inferred=True)
    return {**event, "order_id": row.order_id, "kind": state, "changes": changes}


def _outcome(snapshot: Snapshot, row: Row[Any], missing_ms: int) -> str:
    if row.as_of_ms < snapshot.shown_at_ms - _HISTORY_MS:
        return "closed"
    return "expired" if row.issued_ms + row.duration * _DAY_MS <= missing_ms else "filled"


def _event(snapshot: Snapshot, row: dict[str, Any], kind: str, changes: dict[str, Any] | None) -> dict[str, Any]:
    return {**snapshot.event(at_ms=row["as_of_ms"]), "order_id": row["order_id"], "kind": kind, "changes": changes}


def _record(
    connection: Connection,
    rows: list[dict[str, Any]],
    stored: dict[int, Row[Any]],
    events: list[dict[str, Any]],
) -> Changes:
    if events:
        connection.execute(sa.insert(order_events), events)
    new = sum(row["order_id"] not in stored for row in rows)
    changed = len({event["order_id"] for event in events} & stored.keys())
    return Changes(seen=len(rows), new=new, changed=changed, events=len(events))
