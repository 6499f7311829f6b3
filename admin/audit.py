"""A page of the audit log, as the query asks for it, for the API and the pages."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nomad_actors.finding import MAX_LIMIT
from nomad_actors.store import AuditEntry

from .inputs import Query
from .parts import application

#: Beyond every id and every instant (epoch ms) that there will be.
_MAX = 10**15 - 1


class OfAudit(Query):
    """Which entries of the audit log are listed."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: int | None = Field(default=None, ge=0, le=_MAX, description="the last answer's `nextCursor`")
    actor: str = Field(default="", description="whose changes and refusals; empty for everybody's")
    since: int | None = Field(default=None, ge=0, le=_MAX, description="ms since the epoch")
    until: int | None = Field(default=None, ge=0, le=_MAX, description="ms since the epoch")


def page_of_audit(query: OfAudit) -> tuple[list[dict[str, Any]], int | None]:
    """Return the entries that are asked for, newest first, and the next page's cursor.

    Raises `Unavailable`.
    """
    entries, cursor = application().store.audit.read(
        query.limit, query.cursor, actor=query.actor or None, since_ms=query.since, until_ms=query.until
    )
    return [_as_json(entry) for entry in entries], cursor


def _as_json(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": str(entry.id),
        "at": entry.at_ms,
        "requestId": entry.request_id,
        "actor": entry.actor,
        "role": entry.role,
        "peer": entry.peer,
        "method": entry.method,
        "path": entry.path,
        "body": entry.body,
        "refused": entry.reason,
        "endedAt": entry.ended_ms,
        "status": entry.status,
        "error": entry.error,
    }
