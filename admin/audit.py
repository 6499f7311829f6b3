"""A page of the audit log, as the query asks for it, for the API and the pages."""

from __future__ import annotations

from typing import Any

from flask import request

from nomad_actors.store import AuditEntry

from .inputs import limit_argument, whole_argument
from .parts import application

#: Beyond every id and every instant (epoch ms) that there will be.
_MAX = 10**15 - 1


def page_of_audit(*, default_limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Return the entries that the request at hand asks for, newest first, and the next page's cursor.

    Raises `BadInput`, `Unavailable`.
    """

    def whole(name: str) -> int | None:
        return whole_argument(request, name, default=0, low=0, high=_MAX) if name in request.args else None

    entries, cursor = application().store.audit.read(
        limit_argument(request, default=default_limit),
        whole("cursor"),
        actor=request.args.get("actor") or None,
        since_ms=whole("since"),
        until_ms=whole("until"),
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
