"""The page of the health checks."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from nomad_actors.health import Status

from ..api.doctor import examined
from ..inputs import NoQuery, read_query

pages = Blueprint("pages_checks", __name__)

#: Problems come first; each status has the colour of a comparable job state.
_COLOURS = {Status.PROBLEM: "failed", Status.WARNING: "paused", Status.UNKNOWN: "", Status.OK: "completed"}


@pages.get("/admin/checks")
def checks() -> str:
    """Show the findings of `nomad doctor`, problems first."""
    read_query(request, NoQuery)
    report = examined()
    findings = sorted(report.findings, key=lambda finding: list(_COLOURS).index(finding.status))
    return render_template("checks.html", healthy=report.healthy, findings=findings, colours=_COLOURS)
