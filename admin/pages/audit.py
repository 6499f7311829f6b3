"""The audit log as a page."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from ..audit import page_of_audit
from ..inputs import known_arguments

pages = Blueprint("pages_audit", __name__)

ENTRIES_A_PAGE = 50


@pages.get("/admin/audit")
def audit() -> str:
    """Show who changed what, and what was refused, newest first."""
    known_arguments(request, "limit", "cursor", "actor", "since", "until")
    entries, cursor = page_of_audit(default_limit=ENTRIES_A_PAGE)
    kept = {name: value for name, value in request.args.items() if name != "cursor"}
    return render_template("audit.html", entries=entries, next_cursor=cursor, kept=kept)
