"""Skill history, which ESI does not provide: the differences between consecutive responses.

The first response is the baseline and adds no events. Deltas are signed: extraction removes skillpoints.

A skill that a response does not list has dropped to zero only if `total_sp` says so too: if it is not more than the
skillpoints of the listed skills. If the total still contains the points of every missing skill, or of some (which ones
is unknown), the list is incomplete: no event, and the skill stays as it was until a response lists it or the total
agrees. A list without any skill proves nothing, because every character has some.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ..packed_body import unpack
from ..schema import documents, skill_events, skill_levels, skill_totals
from ..upsert import upsert
from .proofs import last_as_of_ms, prove, read_coverage
from .rows import Changes, Snapshot, UnexpectedRow, stored_by_key


def absorb_skills(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the skills of `snapshot`, if it is newer than the saved ones."""
    stored = stored_by_key(connection, skill_levels, "skill_id", snapshot.character_id)
    if any(snapshot.is_older_than(row.as_of_ms) for row in stored.values()):
        return Changes()
    rows = _rows(snapshot)
    listed = {row["skill_id"]: row["skillpoints"] for row in rows}
    has_all = snapshot.is_complete and _agrees(snapshot.body)
    gone = [_dropped(row, snapshot) for skill_id, row in stored.items() if has_all and skill_id not in listed]
    inferred = {row["skill_id"] for row in gone}
    events = [
        event | {"inferred": row["skill_id"] in inferred}
        for row in [*rows, *gone]
        if (event := _event(snapshot, row, stored.get(row["skill_id"])))
    ]
    upsert(connection, skill_levels, [*rows, *gone])
    is_baseline = not stored
    if events and not is_baseline:
        connection.execute(sa.insert(skill_events), events)
    _save_total(connection, snapshot)
    if has_all:
        prove(connection, snapshot)
    return Changes(
        seen=len(rows),
        new=sum(row["skill_id"] not in stored for row in rows),
        changed=0 if is_baseline else sum(event["skill_id"] in stored for event in events),
        events=0 if is_baseline else len(events),
    )


def confirms_skills(connection: Connection, snapshot: Snapshot) -> bool:
    """Return whether the list that a snapshot without a body confirms agreed with its total."""
    known = read_coverage(connection, snapshot.character_id, "skill_history")
    # If nothing is proven, or a clock that was ahead has claimed more than can be, only the list itself says it.
    if known.until_ms is not None and known.until_ms <= snapshot.read_at_ms:
        return known.until_ms >= (last_as_of_ms(connection, snapshot) or 0)
    same = (documents.c.character_id == snapshot.character_id, documents.c.route == snapshot.route)
    packed = connection.execute(sa.select(documents.c.body_json).where(*same)).scalar()
    return packed is not None and _agrees(unpack(packed))


def _agrees(body: Any) -> bool:
    """Return whether the listed skills have all skillpoints of the total."""
    points = [each["skillpoints_in_skill"] for each in body["skills"]]
    return bool(points) and body.get("total_sp", 0) <= sum(points)


def _rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    try:
        return [
            {
                "character_id": snapshot.character_id,
                "skill_id": each["skill_id"],
                "active_level": each["active_skill_level"],
                "trained_level": each["trained_skill_level"],
                "skillpoints": each["skillpoints_in_skill"],
                "as_of_ms": snapshot.as_of_ms,
            }
            for each in snapshot.body["skills"]
        ]
    except (KeyError, TypeError) as error:
        raise UnexpectedRow(f"the skills have no {error}") from error


def _dropped(row: Row[Any], snapshot: Snapshot) -> dict[str, Any]:
    zeros = {"active_level": 0, "trained_level": 0, "skillpoints": 0, "as_of_ms": snapshot.as_of_ms}
    return {**row._mapping, **zeros}


def _event(snapshot: Snapshot, row: dict[str, Any], old: Row[Any] | None) -> dict[str, Any] | None:
    points = row["skillpoints"] - (old.skillpoints if old is not None else 0)
    levels = row["trained_level"] - (old.trained_level if old is not None else 0)
    if old is not None and points == 0 and levels == 0:
        return None
    return {
        **snapshot.event(),
        "skill_id": row["skill_id"],
        "skillpoints_delta": points,
        "level_delta": levels,
        "trained_level": row["trained_level"],
    }


def _save_total(connection: Connection, snapshot: Snapshot) -> None:
    body = snapshot.body
    total = {"total_sp": body.get("total_sp", 0), "unallocated_sp": body.get("unallocated_sp", 0)}
    last = _last_total(connection, snapshot)
    if last is None or dict(last._mapping) != total:
        row = {"character_id": snapshot.character_id, "at_ms": snapshot.as_of_ms, **total}
        upsert(connection, skill_totals, [row])


def _last_total(connection: Connection, snapshot: Snapshot) -> Row[*tuple[Any, ...]] | None:
    return connection.execute(
        sa.select(skill_totals.c.total_sp, skill_totals.c.unallocated_sp)
        .where(skill_totals.c.character_id == snapshot.character_id, skill_totals.c.at_ms <= snapshot.read_at_ms)
        .order_by(skill_totals.c.at_ms.desc())
        .limit(1)
    ).one_or_none()
