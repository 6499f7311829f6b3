"""What is told of the schedules: times in ISO 8601 and UTC, names in the original's camelCase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..broker.slots import Slot, slot_job_id
from ..clock import Clock
from ..job import Job
from ..queue_control import redis_errors
from ..queues import Queues
from ..thresholds import SCHEDULES
from .book import Schedules, Standing


@dataclass(frozen=True, slots=True)
class Told:
    """A schedule with its slots, read at one moment."""

    standing: Standing
    slots: list[Slot]
    last_success_ms: int | None
    #: The jobs of slots that have not ended, by due time.
    jobs: Mapping[int, Job]

    @property
    def running(self) -> bool:
        """Whether the schedule is on."""
        return self.standing.schedule.enabled

    def next_ms(self, now_ms: float) -> int | None:
        """Return when the schedule is due next (ms), None when it is off."""
        if not self.running:
            return None
        after = datetime.fromtimestamp(max(now_ms, self.standing.stored.watermark_ms) / 1000, UTC)
        return int(self.standing.schedule.next_due(after).timestamp() * 1000)

    def started_ms(self, slot: Slot) -> int | None:
        """Return when a slot's job started last (ms)."""
        job = self.jobs.get(slot.due_ms)
        return job.processed_on_ms if job is not None else slot.started_ms

    def outcome(self, slot: Slot) -> str:
        """Return what became of a slot: its job's state while it has not ended."""
        if slot.missed is not None:
            return "missed"
        if slot.outcome is not None:
            return slot.outcome
        job = self.jobs.get(slot.due_ms)
        return job.status if job is not None else "gone"

    def start_due_ms(self) -> int | None:
        """Return the first slot that has not started (ms): one that waits, else the next one; None when it is off.

        Left in the past, it says that something should have happened and has not.
        """
        waiting = [
            slot.due_ms
            for slot in self.slots
            if slot.missed is None and slot.outcome is None and self.jobs.get(slot.due_ms) and not self.started_ms(slot)
        ]
        if not self.running:
            return min(waiting, default=None)
        after = datetime.fromtimestamp(self.standing.stored.watermark_ms / 1000, UTC)
        unclaimed = int(self.standing.schedule.next_due(after).timestamp() * 1000)
        return min([*waiting, unclaimed])

    def overdue(self, now_ms: float) -> str | None:
        """Return what should have happened and has not, in words."""
        if not self.running:
            return None
        after = datetime.fromtimestamp(self.standing.stored.watermark_ms / 1000, UTC)
        unclaimed = self.standing.schedule.next_due(after)
        late_seconds = now_ms / 1000 - unclaimed.timestamp()
        if late_seconds > SCHEDULES.unclaimed_seconds:
            return f"no scheduler has added the slot of {unclaimed.isoformat()}: is one running?"
        start_due = self.start_due_ms()
        if start_due is not None and now_ms - start_due > SCHEDULES.unstarted_seconds * 1000:
            return f"the job of the slot of {_iso(start_due)} has not started"
        return None


def read(schedules: Schedules, queues: Queues, standing: Standing) -> Told:
    """Return a schedule with its slots and the jobs of those that have not ended."""
    slots, success_ms = schedules.slots(standing)
    queue = queues.get_queue(standing.schedule.queue)
    open_slots = [slot for slot in slots if slot.missed is None and slot.outcome is None]
    jobs = {slot.due_ms: queue.get(slot_job_id(standing.schedule.name, slot.due_ms)) for slot in open_slots}
    return Told(standing, slots, success_ms, {due: job for due, job in jobs.items() if job is not None})


def read_all(queues: Queues, clock: Clock) -> list[Told]:
    """Return every schedule with its slots."""
    schedules = Schedules(queues, clock)
    return [read(schedules, queues, standing) for standing in schedules.all()]


def get_scheduler_summary(queues: Queues, clock: Clock) -> dict[str, Any]:
    """Return the original system's scheduler summary, and which schedulers live.

    Raises `Unavailable` when Redis does not answer.
    """
    now_ms = clock.now_ms()
    told = read_all(queues, clock)
    running = sum(each.running for each in told)
    heard = _heard(queues)
    return {
        "total": len(told),
        "running": running,
        "stopped": len(told) - running,
        "overdue": sum(each.overdue(now_ms) is not None for each in told),
        "jobs": [_as_json(each, now_ms) for each in told],
        "schedulers": [
            {"name": name, "heardAt": _iso(at), "live": _live(at, now_ms)} for name, at in sorted(heard.items())
        ],
    }


def schedulers_live(queues: Queues, clock: Clock) -> dict[str, bool]:
    """Return by name whether each scheduler that is known was heard of lately.

    Raises `Unavailable` when Redis does not answer.
    """
    now_ms = clock.now_ms()
    return {name: _live(at_ms, now_ms) for name, at_ms in _heard(queues).items()}


def get_job_status(queues: Queues, clock: Clock, name: str) -> dict[str, Any]:
    """Return one schedule's status and history; an unknown name gives `exists` false and nothing else.

    Raises `Unavailable` when Redis does not answer.
    """
    schedules = Schedules(queues, clock)
    standing = schedules.find(name)
    if standing is None:
        return {"exists": False, "name": name, "running": False, "nextRun": None, "lastRun": None, "lastOutcome": None}
    told, now_ms = read(schedules, queues, standing), clock.now_ms()
    history = [_slot_as_json(told, slot) for slot in told.slots]
    return {"exists": True, **_as_json(told, now_ms), "slots": history}


def _as_json(told: Told, now_ms: float) -> dict[str, Any]:
    schedule, stored = told.standing.schedule, told.standing.stored
    ran = [slot for slot in told.slots if told.started_ms(slot) is not None]
    last = next((slot for slot in told.slots if slot.missed is None), None)
    next_ms = told.next_ms(now_ms)
    return {
        "name": schedule.name,
        "running": told.running,
        "cronExpression": schedule.expression,
        "timezone": schedule.timezone,
        "description": schedule.description,
        "queueName": schedule.queue,
        "jobType": schedule.job_type,
        "data": dict(schedule.data),
        "nextRun": _iso(next_ms),
        "lastRun": _iso(max((at for at in map(told.started_ms, ran) if at is not None), default=None)),
        "lastStatus": told.outcome(last) if last else None,
        "lastOutcome": next((slot.outcome for slot in told.slots if slot.outcome is not None), None),
        "lastJobId": slot_job_id(schedule.name, last.due_ms) if last else None,
        "lastSuccess": _iso(told.last_success_ms),
        "overdue": told.overdue(now_ms),
        "missed": stored.missed,
        "runOnInit": schedule.run_on_init,
        "misfire": str(schedule.misfire),
        "overlap": str(schedule.overlap),
        "maxLatenessSeconds": schedule.max_lateness_seconds,
        "declared": told.standing.declared,
        "overridden": list(told.standing.overridden),
        "version": stored.version,
    }


def _slot_as_json(told: Told, slot: Slot) -> dict[str, Any]:
    return {
        "due": _iso(slot.due_ms),
        "kind": slot.kind or "due",
        "added": _iso(slot.added_ms),
        "started": _iso(told.started_ms(slot)),
        "ended": _iso(slot.ended_ms),
        "outcome": told.outcome(slot),
        "missed": slot.missed,
        "latenessMs": slot.added_ms - slot.due_ms if slot.added_ms is not None else None,
        "jobId": slot_job_id(told.standing.schedule.name, slot.due_ms) if slot.missed is None else None,
        "requestedBy": slot.by,
    }


def _heard(queues: Queues) -> dict[str, int]:
    with redis_errors():
        return queues.schedule_book().schedulers()


def _live(heard_ms: int, now_ms: float) -> bool:
    return now_ms - heard_ms <= SCHEDULES.silent_seconds * 1000


def _iso(ms: float | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms is not None else None
