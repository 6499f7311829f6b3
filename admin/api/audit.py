"""The audit log: changes made through the admin, by whom, and refused requests."""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from nomad_actors.queues.search import MAX_LIMIT

from ..current_app import application
from ..inputs import Input
from ..listing import Instant
from .declared import declared
from .models import AuditPage

api = Blueprint("audit", __name__, url_prefix="/admin/jobs")

#: Larger than every id.
MAX_ID = 10**15 - 1


class AuditQuery(Input):
    """Filter of the audit log."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: int | None = Field(default=None, ge=0, le=MAX_ID, description="`nextCursor` of the previous response")
    actor: str = Field(default="", description="only changes and refusals of this actor; empty for all actors")
    queue: str = Field(default="", description="only entries of this queue")
    job_id: str = Field(default="", description="only entries of this job")
    endpoint: str = Field(
        default="", description="a path of this document, or its end: `retry` finds every kind of retry"
    )
    since: Instant | None = Field(default=None, description="earliest time, ms since the epoch")
    until: Instant | None = Field(default=None, description="latest time, ms since the epoch")


@api.get("/audit")
@declared(AuditPage)
def audit(query: AuditQuery) -> AuditPage:
    """List changes and refusals, newest first, optionally of one actor, queue, job or endpoint, or a time range."""
    return audit_page(query)


def audit_page(query: AuditQuery) -> AuditPage:
    """Return the matching entries, newest first."""
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
    return AuditPage(entries=entries, next_cursor=None if cursor is None else str(cursor))
