"""What is wrong with the installation, and what mends it."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from nomad_actors.doctor import Patient, examine

from ..inputs import known_arguments
from ..parts import application

api = Blueprint("doctor", __name__, url_prefix="/admin")


@api.get("/doctor")
def doctor() -> Response:
    """Make every check: 200 when none found a problem, else 503 with the same body."""
    known_arguments(request)
    app = application()
    report = examine(Patient(app.settings, app.clock, app.broker, app.queues))
    answer = jsonify(report.as_json())
    answer.status_code = 200 if report.healthy else 503
    return answer
