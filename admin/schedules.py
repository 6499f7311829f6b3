"""The schedules of the application that is shown."""

from __future__ import annotations

from typing import Any

from nomad_actors import scheduler

from .parts import application


def schedule_summary() -> dict[str, Any]:
    """Return the scheduler's summary.

    Raises `Unavailable` when Redis does not answer.
    """
    app = application()
    return scheduler.summary(app.queues, app.clock)
