"""Fills queues with everything that a restart must keep, and reads it as users see it."""

from __future__ import annotations

from typing import Any

from nomad_actors.broker.records.limits import Limits
from nomad_actors.broker.states import STATE_NAMES
from nomad_actors.queues import NewJob, Queues
from nomad_actors.scheduler import ScheduledJob, Schedules
from nomad_actors.testing import wait_until

from .kept_jobs import KEPT, KEPT_PAUSED

HOUR_MS = 3_600_000
WAIT_SECONDS = 30.0


def fill(queues: Queues, schedules: Schedules, first: int) -> None:
    """Add jobs in every state, numbered from `first`, and a pause, limits and schedules; needs a running worker."""
    kept, paused = queues.get_queue(KEPT.queue), queues.get_queue(KEPT_PAUSED.queue)
    paused.pause(reason="kept at a restart", by="an operator")
    paused.set_limits(Limits(concurrency=3, starts=7, period_ms=60_000, max_length=5_000))
    kept.set_limits(Limits(concurrency=9))
    for number, end in enumerate(("complete", "complete", "fail", "fail", "retry", "defer"), first):
        _add(queues, KEPT.queue, number, end, requested_by="user")
    cancelled, removed = (_add(queues, KEPT.queue, first + number, delay=HOUR_MS) for number in (6, 7))
    kept.cancel(cancelled, "not needed")
    kept.remove(removed)
    _add(queues, KEPT.queue, first + 8, delay=HOUR_MS, job_id=f"own-id-{first}")
    _add(queues, KEPT.queue, first + 9, delay=HOUR_MS, unique_key=f"until-start-{first}", unique_until="start")
    _add(queues, KEPT.queue, first + 10, unique_key=f"for-an-hour-{first}", unique_until=3_600)
    _add(queues, KEPT_PAUSED.queue, first + 11, unique_key=f"until-end-{first}")
    _add(queues, KEPT_PAUSED.queue, first + 12, idempotency_key=f"a-call-{first}")
    many = [{"number": first + 20 + number} for number in range(20)]
    queues.add_jobs(
        [
            NewJob(queue=KEPT_PAUSED.queue, job_type=KEPT_PAUSED.name, data=data, priority=1 + data["number"] % 5)
            for data in many
        ]
    )
    _schedule(schedules, first)
    wait_until(
        lambda: kept.counts()["waiting"] + kept.counts()["active"] == 0,
        timeout_seconds=WAIT_SECONDS,
        what="the jobs have ended",
    )
    wait_until(
        lambda: kept.snapshot().stats().completed >= 3, timeout_seconds=WAIT_SECONDS, what="the statistics are there"
    )


def _add(queues: Queues, queue: str, number: int, end: str = "complete", **options: Any) -> str:
    return queues.add_job(queue, queue, {"number": number, "end": end}, **options).id


def _schedule(schedules: Schedules, first: int) -> None:
    job = ScheduledJob(KEPT_PAUSED.name, {"number": first + 60})
    schedules.schedule_job(f"nightly-{first}", "0 3 * * *", job, description="kept")
    schedules.schedule_job(f"stopped-{first}", "*/5 * * * *", job, timezone="Europe/Berlin")
    schedules.run_job(f"nightly-{first}")
    schedules.stop_job(f"stopped-{first}")


def view(queues: Queues, schedules: Schedules) -> dict[str, object]:
    """Return what users see: counts, lists, statistics, limits, pauses, failures, schedules and their slots."""
    found: dict[str, object] = {}
    for name in queues.names():
        queue = queues.get_queue(name)
        found[name] = {
            "counts": queue.counts(),
            "jobs": {state: queue.jobs(state, 0, 4_999) for state in STATE_NAMES},
            "stats": queue.snapshot().stats(),
            "limits": queue.snapshot().limits,
            "pauses": queue.snapshot().pauses,
            "failures": queue.failures(),
        }
    all_of_them = schedules.all()
    found["schedules"], found["slots"] = all_of_them, schedules.slots_of(all_of_them)
    return found


def public_differences(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Return the differences between two views."""
    return [
        f"{key}: {str(before.get(key))[:600]} is now {str(after.get(key))[:600]}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
