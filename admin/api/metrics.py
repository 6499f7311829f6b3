"""Numbers and health of the queues."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request

from nomad_actors import job_metrics
from nomad_actors.errors import Unavailable

from .. import problems
from ..inputs import known_arguments, whole_argument
from ..parts import all_queues
from ..schedules import schedule_summary

api = Blueprint("metrics", __name__, url_prefix="/admin/jobs")


@api.get("/health")
def health() -> Response:
    """Tell whether the job system is healthy: 200, or 503 with the whole body."""
    known_arguments(request)
    try:
        found = job_metrics.get_job_system_health(all_queues(), schedule_summary())
    except Unavailable as error:
        return problems.unavailable(error, healthy=False)
    answer = jsonify(found)
    answer.status_code = 200 if found["healthy"] else 503
    return answer


@api.get("/metrics")
def summary() -> dict[str, Any]:
    """Return every queue's metrics and their sums."""
    return job_metrics.get_job_activity_summary(all_queues(), _window_seconds())


@api.get("/queues")
def queues() -> dict[str, Any]:
    """Return every queue's metrics."""
    return {"queues": job_metrics.get_all_queue_metrics(all_queues(), _window_seconds())}


@api.get("/queues/<queue>")
def queue(queue: str) -> dict[str, Any]:
    """Return one queue's metrics, its live workers and its ages."""
    return job_metrics.get_queue_details(all_queues(), queue, _window_seconds())


def _window_seconds() -> int:
    """Return the window that numbers are asked for; no more than a day is counted."""
    known_arguments(request, "windowSeconds")
    default = job_metrics.DEFAULT_WINDOW_SECONDS
    return whole_argument(request, "windowSeconds", default=default, low=60, high=default)
