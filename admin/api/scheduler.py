"""The schedules."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from ..inputs import known_arguments
from ..schedules import schedule_summary

api = Blueprint("scheduler", __name__, url_prefix="/admin/jobs")


@api.get("/scheduler")
def schedules() -> dict[str, Any]:
    """List the schedules with their next and last runs."""
    known_arguments(request)
    return schedule_summary()
