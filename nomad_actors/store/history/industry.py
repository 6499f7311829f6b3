"""Industry jobs, and an event for each change of a job's status."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..schema import industry_job_events, industry_jobs
from ..upsert import upsert
from .rows import Changes, RowKind, Window, stored_by_key

_JOBS = RowKind(
    industry_jobs,
    dates={
        "start_date": "start_ms",
        "end_date": "end_ms",
        "pause_date": "pause_ms",
        "completed_date": "completed_ms",
    },
    computed=("as_of_ms",),
)


def absorb_jobs(
    connection: Connection, character_id: int, body: Any, as_of_ms: int, window: Window, is_complete: bool
) -> Changes:
    """Save the jobs of `body` that started in `window`.

    A job that ESI does not list stays unchanged, so an incomplete body does no harm.
    """
    stored = stored_by_key(connection, industry_jobs, "job_id", character_id)
    rows, events = [], []
    for each in body:
        row = {**_JOBS.read(character_id, each), "as_of_ms": as_of_ms}
        old = stored.get(row["job_id"])
        if not window.contains(row["start_ms"]) or (old is not None and old.as_of_ms > as_of_ms):
            continue
        rows.append(row)
        if old is None or old.status != row["status"]:
            events.append(
                {
                    "character_id": character_id,
                    "job_id": row["job_id"],
                    "at_ms": as_of_ms,
                    "old_status": None if old is None else old.status,
                    "new_status": row["status"],
                }
            )
    upsert(connection, industry_jobs, rows)
    if events:
        connection.execute(sa.insert(industry_job_events), events)
    new = sum(row["job_id"] not in stored for row in rows)
    return Changes(seen=len(rows), new=new, changed=len(events) - new, events=len(events))
