"""The status of the schedules; times are ISO 8601 in UTC, names are the original system's in camelCase."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..broker.client.slots import SchedulerSign, Slot, slot_job_id
from ..broker.client.steps import Steps
from ..broker.errors import WrongKeyType
from ..broker.records.unreadable import Unreadable
from ..findings import Finding, Severity
from ..queues import Queues
from ..queues.job import Job
from ..settings.redis_urls import redis_cli
from ..thresholds import SCHEDULES as LIMITS
from .book import Schedules
from .changes import ScheduleState
from .models import ScheduleHistory, Scheduler, SchedulerSummary, ScheduleStatus, UnreadableRecord
from .models import Slot as SlotModel


@dataclass(frozen=True, slots=True)
class ScheduleSnapshot:
    """A schedule with its slots at one instant."""

    state: ScheduleState
    slots: list[Slot]
    last_success_ms: int | None
    #: By due time, the jobs of slots that have not ended, and of the last slot with a job if it failed.
    jobs: Mapping[int, Job]
    #: True if its queue is paused, so that its jobs wait on purpose.
    paused: bool

    @property
    def running(self) -> bool:
        """Whether the schedule is on."""
        return self.state.schedule.enabled

    def next_ms(self, now_ms: float) -> int | None:
        """Return when the schedule is due next (ms), None if it is off."""
        if not self.running:
            return None
        return next(self.state.schedule.due_ms_after(max(now_ms, self.state.stored.watermark_ms)))

    def started_ms(self, slot: Slot) -> int | None:
        job = self.jobs.get(slot.due_ms)
        return job.processed_on_ms if job is not None else slot.started_ms

    def outcome(self, slot: Slot) -> str:
        """Return a slot's result, or its job's state while the job has not ended."""
        if slot.missed is not None:
            return "missed"
        if slot.outcome is not None:
            return slot.outcome
        return self._job_status(slot)

    def last_status(self) -> str | None:
        """Return the current state of the last job: one that failed may have been retried or removed."""
        last = last_with_job(self.slots)
        if last is None:
            return None
        return self._job_status(last) if last.outcome == "failed" else self.outcome(last)

    def _job_status(self, slot: Slot) -> str:
        job = self.jobs.get(slot.due_ms)
        return job.status if job is not None else "gone"

    def start_due_ms(self) -> int | None:
        """Return the first slot that has not started (ms): a waiting one, else the next one; None if it is off.

        A time in the past means that the schedule is late.
        """
        if not self.running:
            return None
        waiting = [
            slot.due_ms
            for slot in self.slots
            if slot.missed is None and slot.outcome is None and self.jobs.get(slot.due_ms) and not self.started_ms(slot)
        ]
        return min([*waiting, self._unclaimed_ms()])

    def _unclaimed_ms(self) -> int:
        return next(self.state.schedule.due_ms_after(self.state.stored.watermark_ms))

    def overdue(self, now_ms: float) -> Finding | None:
        """Return what is late, if anything; in a paused queue no job is expected to start."""
        if not self.running:
            return None
        name, unclaimed_ms, start_due_ms = self.state.schedule.name, self._unclaimed_ms(), self.start_due_ms()
        if now_ms - unclaimed_ms > LIMITS.unclaimed_seconds * 1000:
            cause, remedy = f"no scheduler has added the slot of {_iso(unclaimed_ms)}", "nomad run scheduler"
        elif not self.paused and start_due_ms is not None and now_ms - start_due_ms > LIMITS.unstarted_seconds * 1000:
            cause = f"the job of the slot of {_iso(start_due_ms)} has not started"
            remedy = f"nomad job {slot_job_id(name, start_due_ms)}"
        else:
            return None
        return Finding(f"schedule {name}", Severity.PROBLEM, cause, remedy, subject=name, runbook="NomadScheduleLate")


def last_with_job(slots: Sequence[Slot]) -> Slot | None:
    """Return the last slot that got a job."""
    return next((slot for slot in slots if slot.missed is None), None)


def _read(schedules: Schedules, queues: Queues, states: Sequence[ScheduleState]) -> list[ScheduleSnapshot]:
    with_slots = list(zip(states, schedules.slots_of(states), strict=True))
    readings = [_reading_jobs(queues, state, slots) for state, (slots, _) in with_slots]
    found = queues.broker.read_together(readings)
    # Health and doctor name a queue that cannot be read.
    jobs = [({}, False) if isinstance(each, WrongKeyType) else each for each in found]
    return [ScheduleSnapshot(state, *slots, *read) for (state, slots), read in zip(with_slots, jobs, strict=True)]


def _reading_jobs(queues: Queues, state: ScheduleState, slots: Sequence[Slot]) -> Steps[tuple[dict[int, Job], bool]]:
    """Read the jobs of slots that have not ended and of a failed last slot, and whether their queue is paused."""
    last = last_with_job(slots)
    to_read = [slot for slot in slots if slot.missed is None and slot.outcome is None]
    if last is not None and last.outcome == "failed":
        to_read.append(last)
    if not to_read:
        return {}, False
    due_by_id = {slot_job_id(state.schedule.name, slot.due_ms): slot.due_ms for slot in to_read}
    jobs, paused = yield from queues.get_queue(state.schedule.queue).reading_jobs(list(due_by_id))
    return {due_by_id[job_id]: job for job_id, job in jobs.items()}, bool(jobs) and paused


@dataclass(frozen=True, slots=True)
class SchedulerSnapshot:
    """Every schedule with its slots, and every scheduler's last heartbeat, at one time (ms, by the calendar)."""

    schedules: Sequence[ScheduleSnapshot]
    #: Sorted by name.
    schedulers: Sequence[SchedulerSign]
    now_ms: int
    #: Stored schedules that cannot be read.
    unreadable: Sequence[Unreadable] = ()
    #: The `redis-cli` command line for the queues' Redis.
    cli: str = "redis-cli"

    def names_by_queue(self) -> dict[str, list[str]]:
        """Return the names of each queue's schedules, including those that cannot be read."""
        found: dict[str, list[str]] = {}
        for each in self.schedules:
            found.setdefault(each.state.schedule.queue, []).append(each.state.schedule.name)
        for record in self.unreadable:
            if record.field:
                found.setdefault(record.queue, []).append(record.name)
        return found

    def shown(self) -> SchedulerSummary:
        """Return the original system's scheduler summary, and which schedulers live."""
        running = sum(each.running for each in self.schedules)
        return SchedulerSummary(
            total=len(self.schedules),
            running=running,
            stopped=len(self.schedules) - running,
            overdue=sum(each.overdue(self.now_ms) is not None for each in self.schedules),
            jobs=[
                ScheduleStatus.of_attributes(each.state.schedule, **_status(each, self.now_ms))
                for each in self.schedules
            ],
            schedulers=[
                Scheduler.model_construct(
                    name=sign.name,
                    heard_at=_iso(sign.heard_ms),
                    live=is_live(sign),
                    clock_offset_seconds=sign.offset_seconds,
                    holds=sign.suspended_reason or None,
                    holds_since=_iso(sign.suspended_since_ms),
                )
                for sign in self.schedulers
            ],
            unreadable=[
                UnreadableRecord.model_construct(
                    name=each.name, queue_name=each.queue, why=each.why, fix=each.removal(self.cli)
                )
                for each in self.unreadable
            ],
        )


def read_scheduler(queues: Queues) -> SchedulerSnapshot:
    """Return the state of the schedules and the schedulers. Raises `Unavailable` if Redis does not respond."""
    schedules = Schedules(queues)
    states, unreadable = schedules.survey()
    signs = sorted(schedules.book.schedulers().values(), key=lambda sign: sign.name)
    return SchedulerSnapshot(
        _read(schedules, queues, states), signs, queues.clock.now_ms(), unreadable, redis_cli(queues.settings)
    )


def get_scheduler_summary(queues: Queues) -> dict[str, Any]:
    """Return the original system's scheduler summary, and which schedulers live.

    Raises `Unavailable` if Redis does not respond.
    """
    return read_scheduler(queues).shown().as_json()


def undeclared(queues: Queues, known: Collection[str]) -> list[str]:
    """Return the names of the schedules that the code declares and that are not in `known`."""
    return [each.name for each in queues.schedules() if each.name not in known]


def is_live(sign: SchedulerSign) -> bool:
    """Return True if a scheduler's last heartbeat is recent."""
    return sign.silent_ms <= LIMITS.silent_seconds * 1000


def get_job_status(queues: Queues, name: str) -> dict[str, Any]:
    """Return one schedule's status and history; an unknown name gives `exists` false and nothing else.

    Raises `Unavailable` if Redis does not respond.
    """
    schedules = Schedules(queues)
    state = schedules.find(name)
    if state is None:
        return {"exists": False, "name": name, "running": False, "nextRun": None, "lastRun": None, "lastOutcome": None}
    (snapshot,), now_ms = _read(schedules, queues, [state]), queues.clock.now_ms()
    slots = [_slot(snapshot, slot) for slot in snapshot.slots]
    return ScheduleHistory.of_attributes(
        state.schedule, exists=True, **_status(snapshot, now_ms), slots=slots
    ).as_json()


def _status(snapshot: ScheduleSnapshot, now_ms: float) -> dict[str, Any]:
    """Return the fields of a schedule's status that its declaration does not have under the same names."""
    schedule, stored = snapshot.state.schedule, snapshot.state.stored
    ran = [slot for slot in snapshot.slots if snapshot.started_ms(slot) is not None]
    last = last_with_job(snapshot.slots)
    next_ms, overdue = snapshot.next_ms(now_ms), snapshot.overdue(now_ms)
    return {
        "running": snapshot.running,
        "cron_expression": schedule.expression,
        "queue_name": schedule.queue,
        "data": dict(schedule.data),
        "next_run": _iso(next_ms),
        "last_run": _iso(max((at for at in map(snapshot.started_ms, ran) if at is not None), default=None)),
        "last_status": snapshot.last_status(),
        "last_outcome": next((slot.outcome for slot in snapshot.slots if slot.outcome is not None), None),
        "last_job_id": slot_job_id(schedule.name, last.due_ms) if last else None,
        "last_success": _iso(snapshot.last_success_ms),
        "overdue": f"{overdue.cause}: {overdue.remedy}" if overdue else None,
        "missed": stored.missed,
        "misfire": str(schedule.misfire),
        "overlap": str(schedule.overlap),
        "declared": snapshot.state.declared,
        "overridden": list(snapshot.state.overridden),
        "version": stored.version,
    }


def _slot(snapshot: ScheduleSnapshot, slot: Slot) -> SlotModel:
    return SlotModel.model_construct(
        due=_iso(slot.due_ms),
        kind=slot.kind or "due",
        added=_iso(slot.added_ms),
        started=_iso(snapshot.started_ms(slot)),
        ended=_iso(slot.ended_ms),
        outcome=snapshot.outcome(slot),
        missed=slot.missed,
        lateness_ms=slot.added_ms - slot.due_ms if slot.added_ms is not None else None,
        job_id=slot_job_id(snapshot.state.schedule.name, slot.due_ms) if slot.missed is None else None,
        requested_by=slot.by,
    )


def _iso(ms: float | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms is not None else None
