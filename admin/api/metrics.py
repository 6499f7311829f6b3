"""Metrics and health of the queues."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from pydantic import Field

from nomad_actors import job_metrics
from nomad_actors.errors import Unavailable
from nomad_actors.health.models import Health, QueueDetails, QueueList, Summary

from .. import problems
from ..current_app import all_queues, application
from ..inputs import Input
from .declared import ThisQueue, declared

api = Blueprint("metrics", __name__, url_prefix="/admin/jobs")

_DAY_SECONDS = job_metrics.DEFAULT_WINDOW_SECONDS


class Window(Input):
    """The window of the metrics, at most a day."""

    window_seconds: int = Field(default=_DAY_SECONDS, ge=60, le=_DAY_SECONDS)


@api.get("/health")
@declared({200: Health, 503: Health})
def health() -> Response | tuple[dict[str, Any], int]:
    """Report whether the job system is healthy: 200, or 503 with the same body."""
    try:
        found = job_metrics.get_job_system_health(queues=all_queues(), database=application().store.database)
    except Unavailable as error:
        return problems.of_error(error, healthy=False)
    return found, 200 if found["healthy"] else 503


@api.get("/metrics")
@declared(Summary)
def summary(query: Window) -> dict[str, Any]:
    """Return every queue's metrics and their sums."""
    return job_metrics.get_job_activity_summary(query.window_seconds, queues=all_queues())


@api.get("/queues")
@declared(QueueList)
def queues(query: Window) -> dict[str, Any]:
    """Return every queue's metrics."""
    return {"queues": job_metrics.get_all_queue_metrics(query.window_seconds, queues=all_queues())}


@api.get("/queues/<queue>")
@declared(QueueDetails)
def queue(queue: ThisQueue, query: Window) -> dict[str, Any]:
    """Return one queue's metrics, live workers and ages."""
    return job_metrics.get_queue_details(queue.name, query.window_seconds, queues=all_queues())
