"""Industry jobs, and an event for each change of a job's status."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..schema import industry_job_events, industry_jobs
from ..upsert import upsert
from .rows import Changes, RowKind, Snapshot, stored_by_key

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
        if old is not None and old.as_of_ms > snapshot.as_of_ms:
            continue
        rows.append(row)
        if old is None or old.status != row["status"]:
            old_status = None if old is None else old.status
            events.append(
                {
                    **snapshot.event(),
                    "job_id": row["job_id"],
                    "old_status": old_status,
                    "new_status": row["status"],
                }
            )
    upsert(connection, industry_jobs, rows)
    if events:
        connection.execute(sa.insert(industry_job_events), events)
    new = sum(row["job_id"] not in stored for row in rows)
    return Changes(seen=len(rows), new=new, changed=len(events) - new, events=len(events))
