"""The audit log: changes made through the admin, by whom, and refused requests."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from ..audit import AuditQuery, read_audit_page
from .declared import declared
from .models.installation import AuditPage

api = Blueprint("audit", __name__, url_prefix="/admin/jobs")


@api.get("/audit")
@declared(AuditPage)
def audit(query: AuditQuery) -> dict[str, Any]:
    """List changes and refusals, newest first, optionally of one actor, queue, job or endpoint, or a time range."""
    entries, cursor = read_audit_page(query)
    return {"entries": entries, "nextCursor": None if cursor is None else str(cursor)}
