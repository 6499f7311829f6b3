"""Industry jobs, and an event for each change of a job's status; that a job is ready follows from its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ..schema import industry_job_events, industry_jobs
from ..upsert import upsert
from .proofs import prove
from .rows import Changes, RowKind, Snapshot, stored_by_key

_ACTIVE, _READY = "active", "ready"
_JOBS = RowKind(
    industry_jobs,
    dates={
        "start_date": "start_ms",
        "end_date": "end_ms",
        "pause_date": "pause_ms",
        "completed_date": "completed_ms",
    },
    computed=("as_of_ms", "inferred"),
)


def absorb_jobs(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the jobs of `snapshot`.

    A job that ESI does not list stays unchanged, so an incomplete body does no harm.
    """
    stored = stored_by_key(connection, industry_jobs, "job_id", snapshot.character_id)
    rows, events = [], []
    for each in snapshot.body:
        row = {**_JOBS.read(snapshot.character_id, each), "inferred": False, "as_of_ms": snapshot.as_of_ms}
        old = stored.get(row["job_id"])
        if old is not None and snapshot.is_older_than(old.as_of_ms):
            continue
        row, of_job = _concluded(snapshot, row, old)
        rows.append(row)
        events += of_job
    upsert(connection, industry_jobs, rows)
    changes = _record(connection, rows, stored, events)
    prove(connection, snapshot)
    return changes


def infer_ready(connection: Connection, snapshot: Snapshot) -> Changes:
    """Conclude which jobs of the last response, which is valid at the time of `snapshot`, are ready."""
    table = industry_jobs.c
    of_character = table.character_id == snapshot.character_id
    is_past = table.as_of_ms <= snapshot.read_at_ms
    newest_ms = sa.select(sa.func.max(table.as_of_ms)).where(of_character, is_past).scalar_subquery()
    ended = (of_character, table.status == _ACTIVE, table.end_ms <= snapshot.as_of_ms, table.as_of_ms == newest_ms)
    found = connection.execute(sa.select(industry_jobs).where(*ended)).all()
    if not found:
        return Changes()
    job_ids = [row.job_id for row in found]
    connection.execute(
        sa.update(industry_jobs).where(of_character, table.job_id.in_(job_ids)).values(status=_READY, inferred=True)
    )
    connection.execute(sa.insert(industry_job_events), [_ready_event(snapshot, row._mapping) for row in found])
    return Changes(changed=len(found), events=len(found))


def _concluded(
    snapshot: Snapshot, row: dict[str, Any], old: Row[Any] | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a listed job with the status that follows from it, and the events of its changes.

    ESI calls a job active for some time after its end; it is ready then, until its end moves or ESI says otherwise.
    """
    old_status = None if old is None else old.status
    is_over = row["status"] == _ACTIVE and row["end_ms"] <= snapshot.as_of_ms
    was_over = old is not None and old.inferred and row["status"] == _ACTIVE and row["end_ms"] == old.end_ms
    events = []
    if old_status != row["status"] and not (old_status == _READY and (is_over or was_over)):
        events.append(_event(snapshot, row["job_id"], old_status, row["status"]))
    if not is_over and not was_over:
        return row, events
    if old_status != _READY:
        events.append(_ready_event(snapshot, row))
    # What ESI has said once is no conclusion.
    is_conclusion = old is None or old.status != _READY or old.inferred
    return {**row, "status": _READY, "inferred": is_conclusion}, events


def _event(snapshot: Snapshot, job_id: int, old_status: str | None, new_status: str, **more: Any) -> dict[str, Any]:
    return {**snapshot.event(**more), "job_id": job_id, "old_status": old_status, "new_status": new_status}


def _ready_event(snapshot: Snapshot, job: Mapping[Any, Any]) -> dict[str, Any]:
    return _event(snapshot, job["job_id"], _ACTIVE, _READY, at_ms=job["end_ms"], inferred=True)


def _record(
    connection: Connection,
    rows: list[dict[str, Any]],
    stored: dict[int, Row[Any]],
    events: list[dict[str, Any]],
) -> Changes:
    if events:
        connection.execute(sa.insert(industry_job_events), events)
    new = sum(row["job_id"] not in stored for row in rows)
    changed = len({event["job_id"] for event in events} & stored.keys())
    return Changes(seen=len(rows), new=new, changed=changed, events=len(events))
