"""What is told of the schedules: times in ISO 8601 and UTC, names in the original's camelCase."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..broker.client.slots import SchedulerSign, Slot, slot_job_id
from ..broker.client.steps import Steps
from ..broker.errors import WrongKeyType
from ..broker.records.unreadable import Unreadable
from ..clock import Clock
from ..findings import Finding, Severity
from ..queues import Queues
from ..queues.job import Job
from ..settings.redis_cli import redis_cli
from ..thresholds import SCHEDULES as LIMITS
from .book import Schedules
from .changes import ScheduleState
from .models import ScheduleHistory, Scheduler, SchedulerSummary, ScheduleStatus, UnreadableRecord
from .models import Slot as SlotModel


@dataclass(frozen=True, slots=True)
class Told:
    """A schedule with its slots, read at one moment."""

    state: ScheduleState
    slots: list[Slot]
    last_success_ms: int | None
    #: The jobs of slots that have not ended and of the last that has a job, by due time.
    jobs: Mapping[int, Job]
    #: Whether what waits of it is meant to: its queue is paused.
    paused: bool

    @property
    def running(self) -> bool:
        """Whether the schedule is on."""
        return self.state.schedule.enabled

    def next_ms(self, now_ms: float) -> int | None:
        """Return when the schedule is due next (ms), None when it is off."""
        if not self.running:
            return None
        after = datetime.fromtimestamp(max(now_ms, self.state.stored.watermark_ms) / 1000, UTC)
        return int(self.state.schedule.next_due(after).timestamp() * 1000)

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
        after = datetime.fromtimestamp(self.state.stored.watermark_ms / 1000, UTC)
        unclaimed = int(self.state.schedule.next_due(after).timestamp() * 1000)
        return min([*waiting, unclaimed])

    def overdue(self, now_ms: float) -> Finding | None:
        """Return what should have happened and has not; in a paused queue no job is to start."""
        if not self.running:
            return None
        name = self.state.schedule.name
        after = datetime.fromtimestamp(self.state.stored.watermark_ms / 1000, UTC)
        unclaimed = self.state.schedule.next_due(after)
        late_seconds = now_ms / 1000 - unclaimed.timestamp()
        if late_seconds > LIMITS.unclaimed_seconds:
            return self._late(f"no scheduler has added the slot of {unclaimed.isoformat()}", "nomad run scheduler")
        start_due = self.start_due_ms()
        if not self.paused and start_due is not None and now_ms - start_due > LIMITS.unstarted_seconds * 1000:
            why = f"nomad job {slot_job_id(name, start_due)}"
            return self._late(f"the job of the slot of {_iso(start_due)} has not started", why)
        return None

    def _late(self, cause: str, remedy: str) -> Finding:
        name = self.state.schedule.name
        return Finding(f"schedule {name}", Severity.PROBLEM, cause, remedy, subject=name, runbook="NomadScheduleLate")


def last_with_job(slots: Sequence[Slot]) -> Slot | None:
    """Return the last slot that got a job."""
    return next((slot for slot in slots if slot.missed is None), None)


def read_all(queues: Queues, clock: Clock) -> list[Told]:
    """Return every schedule with its slots."""
    schedules = Schedules(queues, clock)
    return _read(schedules, queues, schedules.all())


def _read(schedules: Schedules, queues: Queues, states: Sequence[ScheduleState]) -> list[Told]:
    read = list(zip(states, schedules.slots_of(states), strict=True))
    readings = [_reading_jobs(queues, state, slots) for state, (slots, _) in read]
    found = queues.broker.read_together(readings)
    # Health and doctor name a queue that cannot be read.
    jobs = [({}, False) if isinstance(each, WrongKeyType) else each for each in found]
    return [Told(state, *slots, *of) for (state, slots), of in zip(read, jobs, strict=True)]


def _reading_jobs(queues: Queues, state: ScheduleState, slots: Sequence[Slot]) -> Steps[tuple[dict[int, Job], bool]]:
    """Read the jobs of a schedule's slots that have not ended and of a last one that failed, and whether they pause."""
    last = last_with_job(slots)
    asked = [slot for slot in slots if slot.missed is None and slot.outcome is None]
    if last is not None and last.outcome == "failed":
        asked.append(last)
    if not asked:
        return {}, False
    due_by_id = {slot_job_id(state.schedule.name, slot.due_ms): slot.due_ms for slot in asked}
    jobs, paused = yield from queues.get_queue(state.schedule.queue).reading_jobs(list(due_by_id))
    return {due_by_id[job_id]: job for job_id, job in jobs.items()}, bool(jobs) and paused


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

    def names_by_queue(self) -> dict[str, list[str]]:
        """Return the names of the schedules of each queue, also of those that cannot be read."""
        found: dict[str, list[str]] = {}
        for each in self.told:
            found.setdefault(each.state.schedule.queue, []).append(each.state.schedule.name)
        for record in self.unreadable:
            if record.field:
                found.setdefault(record.queue, []).append(record.name)
        return found

    def shown(self) -> SchedulerSummary:
        """Return the original system's scheduler summary, and which schedulers live."""
        running = sum(each.running for each in self.told)
        return SchedulerSummary(
            total=len(self.told),
            running=running,
            stopped=len(self.told) - running,
            overdue=sum(each.overdue(self.now_ms) is not None for each in self.told),
            jobs=[ScheduleStatus.model_construct(**_status(each, self.now_ms)) for each in self.told],
            schedulers=[_scheduler(sign) for sign in self.schedulers],
            unreadable=[
                UnreadableRecord.model_construct(
                    name=each.name, queue_name=each.queue, why=each.why, fix=each.removal(self.cli)
                )
                for each in self.unreadable
            ],
        )


def read_scheduler(queues: Queues, clock: Clock) -> Reading:
    """Return how the schedules and the schedulers stand.

    Raises `Unavailable` when Redis does not answer.
    """
    schedules = Schedules(queues, clock)
    states, unreadable = schedules.survey()
    return Reading(
        _read(schedules, queues, states), signs(queues), clock.now_ms(), unreadable, redis_cli(queues.settings)
    )


def get_scheduler_summary(queues: Queues, clock: Clock) -> dict[str, Any]:
    """Return the original system's scheduler summary, and which schedulers live.

    Raises `Unavailable` when Redis does not answer.
    """
    return read_scheduler(queues, clock).shown().as_json()


def undeclared(queues: Queues, known: Collection[str]) -> list[str]:
    """Return the names of the schedules that the code declares and that are not among the known."""
    return [each.name for each in queues.schedules() if each.name not in known]


def signs(queues: Queues) -> list[SchedulerSign]:
    """Return the last sign of life of each scheduler that is known, by name.

    Raises `Unavailable` when Redis does not answer.
    """
    found = queues.schedule_book().schedulers()
    return [found[name] for name in sorted(found)]


def is_live(sign: SchedulerSign) -> bool:
    """Return whether a scheduler was heard of lately."""
    return sign.silent_ms <= LIMITS.silent_seconds * 1000


def _scheduler(sign: SchedulerSign) -> Scheduler:
    return Scheduler.model_construct(
        name=sign.name,
        heard_at=_iso(sign.heard_ms),
        live=is_live(sign),
        clock_offset_seconds=sign.offset_seconds,
        holds=sign.suspended_reason or None,
        holds_since=_iso(sign.suspended_since_ms),
    )


def get_job_status(queues: Queues, clock: Clock, name: str) -> dict[str, Any]:
    """Return one schedule's status and history; an unknown name gives `exists` false and nothing else.

    Raises `Unavailable` when Redis does not answer.
    """
    schedules = Schedules(queues, clock)
    state = schedules.find(name)
    if state is None:
        return {"exists": False, "name": name, "running": False, "nextRun": None, "lastRun": None, "lastOutcome": None}
    (told,), now_ms = _read(schedules, queues, [state]), clock.now_ms()
    slots = [_slot(told, slot) for slot in told.slots]
    return ScheduleHistory.model_construct(exists=True, **_status(told, now_ms), slots=slots).as_json()


def _status(told: Told, now_ms: float) -> dict[str, Any]:
    schedule, stored = told.state.schedule, told.state.stored
    ran = [slot for slot in told.slots if told.started_ms(slot) is not None]
    last = last_with_job(told.slots)
    next_ms, overdue = told.next_ms(now_ms), told.overdue(now_ms)
    return {
        "name": schedule.name,
        "running": told.running,
        "cron_expression": schedule.expression,
        "timezone": schedule.timezone,
        "description": schedule.description,
        "queue_name": schedule.queue,
        "job_type": schedule.job_type,
        "data": dict(schedule.data),
        "next_run": _iso(next_ms),
        "last_run": _iso(max((at for at in map(told.started_ms, ran) if at is not None), default=None)),
        "last_status": told.last_status(),
        "last_outcome": next((slot.outcome for slot in told.slots if slot.outcome is not None), None),
        "last_job_id": slot_job_id(schedule.name, last.due_ms) if last else None,
        "last_success": _iso(told.last_success_ms),
        "overdue": f"{overdue.cause}: {overdue.remedy}" if overdue else None,
        "missed": stored.missed,
        "run_on_init": schedule.run_on_init,
        "misfire": str(schedule.misfire),
        "overlap": str(schedule.overlap),
        "max_lateness_seconds": schedule.max_lateness_seconds,
        "declared": told.state.declared,
        "overridden": list(told.state.overridden),
        "version": stored.version,
    }


def _slot(told: Told, slot: Slot) -> SlotModel:
    return SlotModel.model_construct(
        due=_iso(slot.due_ms),
        kind=slot.kind or "due",
        added=_iso(slot.added_ms),
        started=_iso(told.started_ms(slot)),
        ended=_iso(slot.ended_ms),
        outcome=told.outcome(slot),
        missed=slot.missed,
        lateness_ms=slot.added_ms - slot.due_ms if slot.added_ms is not None else None,
        job_id=slot_job_id(told.state.schedule.name, slot.due_ms) if slot.missed is None else None,
        requested_by=slot.by,
    )


def _iso(ms: float | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms is not None else None
