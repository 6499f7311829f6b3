"""What is told of the schedules: times in ISO 8601 and UTC, names in the original's camelCase."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from ..broker.client.slots import SchedulerSign, Slot, slot_job_id
from ..broker.records.unreadable import Unreadable
from ..clock import Clock
from ..errors import UnreadableQueue
from ..queues import Queues
from ..queues.job import Job
from ..queues.queue import of_readable, redis_errors
from ..settings.redis_cli import redis_cli
from ..thresholds import SCHEDULES as LIMITS
from .book import Schedules
from .changes import Standing


@dataclass(frozen=True, slots=True)
class Overdue:
    """What should have happened to a schedule and has not, and the command that leads on."""

    found: str
    fix: str

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.found}: {self.fix}"


@dataclass(frozen=True, slots=True)
class Told:
    """A schedule with its slots, read at one moment."""

    standing: Standing
    slots: list[Slot]
    last_success_ms: int | None
    #: The jobs of slots that have not ended and of the last that has a job, by due time.
    jobs: Mapping[int, Job]
    #: Whether what waits of it is meant to: its queue is paused.
    paused: bool

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
        return self._job_status(slot)

    def last_status(self) -> str | None:
        """Return what has become of the last job by now: one that failed may have been retried, or removed."""
        last = last_with_job(self.slots)
        if last is None:
            return None
        return self._job_status(last) if last.outcome == "failed" else self.outcome(last)

    def _job_status(self, slot: Slot) -> str:
        job = self.jobs.get(slot.due_ms)
        return job.status if job is not None else "gone"

    def start_due_ms(self) -> int | None:
        """Return the first slot that has not started (ms): one that waits, else the next one; None when it is off.

        Left in the past, it says that something should have happened and has not.
        """
        if not self.running:
            return None
        waiting = [
            slot.due_ms
            for slot in self.slots
            if slot.missed is None and slot.outcome is None and self.jobs.get(slot.due_ms) and not self.started_ms(slot)
        ]
        after = datetime.fromtimestamp(self.standing.stored.watermark_ms / 1000, UTC)
        unclaimed = int(self.standing.schedule.next_due(after).timestamp() * 1000)
        return min([*waiting, unclaimed])

    def overdue(self, now_ms: float) -> Overdue | None:
        """Return what should have happened and has not; in a paused queue no job is to start."""
        if not self.running:
            return None
        name = self.standing.schedule.name
        after = datetime.fromtimestamp(self.standing.stored.watermark_ms / 1000, UTC)
        unclaimed = self.standing.schedule.next_due(after)
        late_seconds = now_ms / 1000 - unclaimed.timestamp()
        if late_seconds > LIMITS.unclaimed_seconds:
            return Overdue(f"no scheduler has added the slot of {unclaimed.isoformat()}", "nomad run scheduler")
        start_due = self.start_due_ms()
        if not self.paused and start_due is not None and now_ms - start_due > LIMITS.unstarted_seconds * 1000:
            why = f"nomad job {slot_job_id(name, start_due)}"
            return Overdue(f"the job of the slot of {_iso(start_due)} has not started", why)
        return None


def last_with_job(slots: Sequence[Slot]) -> Slot | None:
    """Return the last slot that got a job."""
    return next((slot for slot in slots if slot.missed is None), None)


def read_all(queues: Queues, clock: Clock) -> list[Told]:
    """Return every schedule with its slots."""
    schedules = Schedules(queues, clock)
    return _read(schedules, queues, schedules.all())


def _read(schedules: Schedules, queues: Queues, standings: Sequence[Standing]) -> list[Told]:
    is_paused = cache(lambda queue: any(of_readable([queue], lambda name: queues.get_queue(name).is_paused())))
    read = zip(standings, schedules.slots_of(standings), strict=True)
    return [_told(queues, standing, slots, success_ms, is_paused) for standing, (slots, success_ms) in read]


def _told(
    queues: Queues,
    standing: Standing,
    slots: list[Slot],
    success_ms: int | None,
    is_paused: Callable[[str], bool],
) -> Told:
    queue = queues.get_queue(standing.schedule.queue)
    last = last_with_job(slots)
    asked = [slot for slot in slots if slot.missed is None and slot.outcome is None]
    if last is not None and last.outcome == "failed":
        asked.append(last)
    try:
        jobs = {slot.due_ms: queue.get(slot_job_id(standing.schedule.name, slot.due_ms)) for slot in asked}
    except UnreadableQueue:
        # Health and doctor name the queue.
        jobs = {}
    found = {due: job for due, job in jobs.items() if job is not None}
    return Told(standing, slots, success_ms, found, bool(found) and is_paused(standing.schedule.queue))


@dataclass(frozen=True, slots=True)
class Reading:
    """Every schedule with its slots, and every scheduler's last sign of life, at one time (ms, of the calendar)."""

    told: Sequence[Told]
    schedulers: Sequence[SchedulerSign]
    now_ms: int
    #: What is kept as a schedule and cannot be read as one.
    unreadable: Sequence[Unreadable] = ()
    #: How `redis-cli` is called for the queues' Redis.
    cli: str = "redis-cli"

    def as_json(self) -> dict[str, Any]:
        """Return the original system's scheduler summary, and which schedulers live."""
        running = sum(each.running for each in self.told)
        return {
            "total": len(self.told),
            "running": running,
            "stopped": len(self.told) - running,
            "overdue": sum(each.overdue(self.now_ms) is not None for each in self.told),
            "jobs": [_as_json(each, self.now_ms) for each in self.told],
            "schedulers": [_sign_as_json(sign) for sign in self.schedulers],
            "unreadable": [
                {"name": each.name, "queueName": each.queue, "why": each.why, "fix": each.removal(self.cli)}
                for each in self.unreadable
            ],
        }


def read_scheduler(queues: Queues, clock: Clock) -> Reading:
    """Return how the schedules and the schedulers stand.

    Raises `Unavailable` when Redis does not answer.
    """
    schedules = Schedules(queues, clock)
    standings, unreadable = schedules.survey()
    return Reading(
        _read(schedules, queues, standings), signs(queues), clock.now_ms(), unreadable, redis_cli(queues.settings)
    )


def get_scheduler_summary(queues: Queues, clock: Clock) -> dict[str, Any]:
    """Return the original system's scheduler summary, and which schedulers live.

    Raises `Unavailable` when Redis does not answer.
    """
    return read_scheduler(queues, clock).as_json()


def undeclared(queues: Queues, known: Collection[str]) -> list[str]:
    """Return the names of the schedules that the code declares and that are not among the known."""
    return [each.name for each in queues.schedules() if each.name not in known]


def signs(queues: Queues) -> list[SchedulerSign]:
    """Return the last sign of life of each scheduler that is known, by name.

    Raises `Unavailable` when Redis does not answer.
    """
    with redis_errors():
        found = queues.schedule_book().schedulers()
    return [found[name] for name in sorted(found)]


def is_live(sign: SchedulerSign) -> bool:
    """Return whether a scheduler was heard of lately."""
    return sign.silent_ms <= LIMITS.silent_seconds * 1000


def _sign_as_json(sign: SchedulerSign) -> dict[str, Any]:
    return {
        "name": sign.name,
        "heardAt": _iso(sign.heard_ms),
        "live": is_live(sign),
        "clockOffsetSeconds": sign.offset_seconds,
        "holds": sign.holds or None,
        "holdsSince": _iso(sign.holds_since_ms),
    }


def get_job_status(queues: Queues, clock: Clock, name: str) -> dict[str, Any]:
    """Return one schedule's status and history; an unknown name gives `exists` false and nothing else.

    Raises `Unavailable` when Redis does not answer.
    """
    schedules = Schedules(queues, clock)
    standing = schedules.find(name)
    if standing is None:
        return {"exists": False, "name": name, "running": False, "nextRun": None, "lastRun": None, "lastOutcome": None}
    (told,), now_ms = _read(schedules, queues, [standing]), clock.now_ms()
    history = [_slot_as_json(told, slot) for slot in told.slots]
    return {"exists": True, **_as_json(told, now_ms), "slots": history}


def _as_json(told: Told, now_ms: float) -> dict[str, Any]:
    schedule, stored = told.standing.schedule, told.standing.stored
    ran = [slot for slot in told.slots if told.started_ms(slot) is not None]
    last = last_with_job(told.slots)
    next_ms, overdue = told.next_ms(now_ms), told.overdue(now_ms)
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
        "lastStatus": told.last_status(),
        "lastOutcome": next((slot.outcome for slot in told.slots if slot.outcome is not None), None),
        "lastJobId": slot_job_id(schedule.name, last.due_ms) if last else None,
        "lastSuccess": _iso(told.last_success_ms),
        "overdue": str(overdue) if overdue else None,
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


def _iso(ms: float | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms is not None else None
