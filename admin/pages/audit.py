"""The page of the audit log."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from ..audit import AuditQuery, read_audit_page
from ..inputs import read_query

pages = Blueprint("pages_audit", __name__)


@pages.get("/admin/audit")
def audit() -> str:
    """Show changes and refusals, newest first."""
    query = read_query(request, AuditQuery)
    entries, cursor = read_audit_page(query)
    filters = {name: value for name, value in request.args.items() if name != "cursor" and value}
    return render_template("audit.html", query=query, entries=entries, next_cursor=cursor, filters=filters)
