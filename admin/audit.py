"""A page of the audit log, as the query asks for it, for the API and the pages."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nomad_actors.queues.search import MAX_LIMIT

from .inputs import Query
from .parts import application

#: Beyond every id and every instant (epoch ms) that there will be.
_MAX = 10**15 - 1


class OfAudit(Query):
    """Which entries of the audit log are listed."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: int | None = Field(default=None, ge=0, le=_MAX, description="the last answer's `nextCursor`")
    actor: str = Field(default="", description="whose changes and refusals; empty for everybody's")
    queue: str = Field(default="", description="what was done in this queue")
    job_id: str = Field(default="", description="what was done to this job")
    endpoint: str = Field(
        default="", description="a path of this document, or how it ends: `retry` finds every way to retry"
    )
    since: int | None = Field(default=None, ge=0, le=_MAX, description="ms since the epoch")
    until: int | None = Field(default=None, ge=0, le=_MAX, description="ms since the epoch")


def page_of_audit(query: OfAudit) -> tuple[list[dict[str, Any]], int | None]:
    """Return the entries that are asked for, newest first, and the next page's cursor.

    Raises `Unavailable`.
    """
    entries, cursor = application().store.audit.read(
        query.limit,
        query.cursor,
        actor=query.actor or None,
        queue=query.queue or None,
        job_id=query.job_id or None,
        endpoint=query.endpoint or None,
        since_ms=query.since,
        until_ms=query.until,
    )
    return [entry.as_json() for entry in entries], cursor
