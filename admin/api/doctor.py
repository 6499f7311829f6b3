"""The doctor's report: problems of the installation, with their remedies."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from nomad_actors.health import Installation, examine
from nomad_actors.health.models import DoctorReport
from nomad_actors.queues.snapshot import DAY_SECONDS

from ..current_app import application
from .declared import declared

api = Blueprint("doctor", __name__, url_prefix="/admin")


def installation(window_seconds: int = DAY_SECONDS) -> Installation:
    """Return the application for the checks, with the statistics of `window_seconds`."""
    app = application()
    database = app.store.database
    return Installation(
        app.settings, app.clock, app.broker, app.queues, database=database, window_seconds=window_seconds
    )


@api.get("/doctor")
@declared({200: DoctorReport, 503: DoctorReport}, problems=())
def doctor() -> Response:
    """Run every check: 200 if none found a problem, else 503 with the same body."""
    report = examine(installation())
    response = jsonify(report.as_json())
    response.status_code = 200 if report.healthy else 503
    return response
