"""The audit log: what was changed through the admin, by whom, and what was refused."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from ..audit import page_of_audit
from ..inputs import known_arguments

api = Blueprint("audit", __name__, url_prefix="/admin/jobs")


@api.get("/audit")
def audit() -> dict[str, Any]:
    """List changes and refusals, newest first, of one actor and between two instants when asked so."""
    known_arguments(request, "limit", "cursor", "actor", "since", "until")
    entries, cursor = page_of_audit(default_limit=50)
    return {"entries": entries, "nextCursor": None if cursor is None else str(cursor)}
