"""What the admin shows of the schedules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ..clock import Clock
from ..job import Job
from ..queues import Queues
from .schedules import SCHEDULES, Schedule


def summary(queues: Queues, clock: Clock, schedules: Sequence[Schedule] = SCHEDULES) -> dict[str, object]:
    """Return the original system's scheduler summary; times are ISO 8601 in UTC.

    `lastRun` is when the job of the last due slot was started: null when it has not started, or is no longer kept.

    Raises `Unavailable` when Redis does not answer.
    """
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    running = sum(schedule.enabled for schedule in schedules)
    return {
        "total": len(schedules),
        "running": running,
        "stopped": len(schedules) - running,
        "jobs": [_job(schedule, queues, now) for schedule in schedules],
    }


def _job(schedule: Schedule, queues: Queues, now: datetime) -> dict[str, object]:
    last = _last_job(schedule, queues, now)
    return {
        "name": schedule.name,
        "running": schedule.enabled,
        "cronExpression": schedule.expression,
        "timezone": schedule.timezone,
        "description": schedule.description,
        "queueName": schedule.queue,
        "jobType": schedule.job_type,
        "nextRun": schedule.next_due(now).isoformat() if schedule.enabled else None,
        "lastRun": _instant(last.processed_on_ms) if last else None,
        "lastStatus": last.status if last else None,
        "lastJobId": last.id if last else None,
    }


def _last_job(schedule: Schedule, queues: Queues, now: datetime) -> Job | None:
    due = schedule.last_due(now)
    return queues.get_queue(schedule.queue).get(schedule.slot_id(due)) if due else None


def _instant(ms: int | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms else None
