"""The page of the health checks."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from nomad_actors.health import Severity, examine

from ..api.doctor import installation
from ..inputs import NoQuery, read_query

pages = Blueprint("pages_checks", __name__)

#: Problems come first; each severity has the colour of a comparable job state.
_COLOURS = {Severity.PROBLEM: "failed", Severity.WARNING: "paused", Severity.UNKNOWN: "", Severity.OK: "completed"}


@pages.get("/admin/checks")
def checks() -> str:
    """Show the findings of `nomad doctor`, problems first."""
    read_query(request, NoQuery)
    report = examine(installation())
    findings = sorted(report.findings, key=lambda finding: list(_COLOURS).index(finding.severity))
    return render_template("checks.html", healthy=report.healthy, findings=findings, colours=_COLOURS)
