"""The doctor's report: problems of the installation, with their remedies."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from nomad_actors.health import Installation, examine
from nomad_actors.health.models import DoctorReport
from nomad_actors.queues.snapshot import DAY_SECONDS

from ..current_app import application
from .declared import declared

api = Blueprint("doctor", __name__, url_prefix="/admin")


def installation() -> Installation:
    """Return the application for the checks, with the statistics of a day."""
    app = application()
    database = app.store.database
    return Installation(app.settings, app.clock, app.broker, app.queues, database=database, window_seconds=DAY_SECONDS)


@api.get("/doctor")
@declared({200: DoctorReport, 503: DoctorReport}, problems=())
def doctor() -> tuple[dict[str, Any], int]:
    """Run every check: 200 if none found a problem, else 503 with the same body."""
    report = examine(installation())
    return report.as_json(), 200 if report.healthy else 503
