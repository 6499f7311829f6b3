"""What is wrong with the installation, and what mends it."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from nomad_actors.health import Patient, Report, examine
from nomad_actors.scheduler.status import Reading

from ..parts import application
from .answers import DoctorReport
from .declared import declared

api = Blueprint("doctor", __name__, url_prefix="/admin")


def examined(scheduler: Reading | None = None) -> Report:
    """Return what every check finds, made now."""
    app = application()
    return examine(
        Patient(app.settings, app.clock, app.broker, app.queues, database=app.store.database, scheduler=scheduler)
    )


@api.get("/doctor")
@declared({200: DoctorReport, 503: DoctorReport}, problems=())
def doctor() -> Response:
    """Make every check: 200 when none found a problem, else 503 with the same body."""
    report = examined()
    answer = jsonify(report.as_json())
    answer.status_code = 200 if report.healthy else 503
    return answer
