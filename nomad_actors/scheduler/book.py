"""Declares, adds, changes, starts, stops, runs, removes and lists the schedules of an application.

A schedule is what the code declares plus what an operator changed. The two are stored apart, so a deploy changes the
first and never undoes the second. Everything is in Redis, so it applies to every scheduler at once and outlives them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

from ..broker.client.slots import Claim, Claimed, ScheduleBook, Slot, StoredSchedule, slot_job_id
from ..broker.records.unreadable import Unreadable
from ..errors import BadInput, UnknownSchedule, WrongState
from ..logs import error_reports, get_logger
from ..logs.foreign_text import safe_repr
from ..queues import AddedJob, NewJob, Queues
from ..queues.job_type import JobType
from ..queues.message import foreign_values
from ..queues.policy import PriorityValue
from ..queues.schedules.schedule import JobSchedule, Overlap, Schedule, ScheduleOptions
from .changes import (
    Change,
    ScheduleState,
    begin_after_change,
    begin_after_declaring,
    declared_change,
    operator_change,
    read_state,
)
from .due import Due

logger = get_logger("nomad_actors.scheduler")


@dataclass(frozen=True)
class ScheduledJob:
    """The job that a schedule adds: a job type, its data, and options that differ from the job type's own."""

    job_type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    priority: PriorityValue | None = None
    attempts: int | None = None

    @classmethod
    def of(cls, job: object) -> ScheduledJob:
        """Return the job that a caller's `(job type, data)` means.

        Raises `BadInput` with what is allowed for anything else.
        """
        if isinstance(job, ScheduledJob):
            return job
        if isinstance(job, tuple) and len(job) == 2:
            job_type, data = job
            name = job_type.name if isinstance(job_type, JobType) else job_type
            if isinstance(name, str) and isinstance(data, Mapping):
                return cls(name, data)
        allowed = 'a job type with its data, such as ("cache-cleanup", {"mode": "expired"})'
        if callable(job):
            called = getattr(job, "__name__", "it")
            raise BadInput(
                f"a plain function cannot be scheduled: {called} would not survive this process. Make it the `run` "
                f'of a JobType in a module that NOMAD_MODULES names, and schedule ("{called}", {{…}}); '
                f"allowed: {allowed}"
            )
        raise BadInput(f"job {safe_repr(job, 200)} is invalid (allowed: {allowed})")


class Schedules:
    """The schedules of one application. Every method raises `Unavailable` if Redis does not respond."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._clock = queues.clock

    @property
    def book(self) -> ScheduleBook:
        """The records in Redis."""
        return self._queues.broker.schedules()

    def all(self) -> list[ScheduleState]:
        """Return the readable schedules, sorted by name."""
        return self.survey()[0]

    def survey(self) -> tuple[list[ScheduleState], list[Unreadable]]:
        """Return the readable schedules, sorted by name, and the unreadable records."""
        found, unreadable = self.book.survey(self._queues.names())
        states = []
        for stored in found:
            try:
                states.append(read_state(stored))
            except (BadInput, TypeError) as error:
                unreadable.append(self.book.unreadable(stored, str(error)))
        return states, unreadable

    def find(self, name: str) -> ScheduleState | None:
        """Return the schedule with this name, or None."""
        return next((each for each in self.all() if each.schedule.name == name), None)

    def get(self, name: str) -> ScheduleState:
        """Return the schedule with this name. Raises `UnknownSchedule` with the names that exist."""
        states = {each.schedule.name: each for each in self.all()}
        if name not in states:
            raise UnknownSchedule(name, states)
        return states[name]

    def declare(self, schedules: Sequence[JobSchedule]) -> None:
        """Store the code's schedules: new ones begin now, changed ones continue, undeclared ones are removed.

        Operators' changes stay in force.
        """
        states = self.all()
        queue_of = {schedule.name: schedule.queue for schedule in schedules}
        for schedule in map(self._as_stored, schedules):
            same = [each for each in states if each.schedule.name == schedule.name]
            known = next((each for each in same if each.schedule.queue == schedule.queue), same[0] if same else None)
            overrides: Mapping[str, Any] = {}
            begin = begin_after_declaring(known, schedule)
            if known is not None and known.schedule.queue != schedule.queue:
                # A record belongs to a queue: it moves to the new one and keeps its watermark.
                begin, overrides = begin or str(known.stored.watermark_ms), known.stored.overrides
            self._put(schedule, declared_change(schedule, overrides), begin=begin)
        for each in states:
            # The old record of a removed or moved schedule is deleted last, so that a crash loses nothing.
            if each.declared and queue_of.get(each.schedule.name) != each.schedule.queue:
                self._remove(each)

    def schedule_job(
        self,
        name: str,
        cron: str,
        job: ScheduledJob | tuple[Any, ...],
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleState:
        """Add a schedule, or change the one with that name; `job` is a job type with its data.

        If the code declares the schedule, the differences are stored as an operator's changes.

        Raises `BadInput`, `UnknownJobType` or `BadPayload` with what is allowed; then nothing is changed.
        """
        with foreign_values("schedule"):
            added = ScheduledJob.of(job)
        unbound = Schedule(
            name=name, expression=cron, data=added.data, priority=added.priority, attempts=added.attempts, **options
        )
        with foreign_values("schedule"):
            schedule = self._queues.bind(unbound, added.job_type)
            # Refuse a wrong job now, not when the first slot is due.
            self._queues.prepare(_new_job(schedule))
        known = self.find(name)
        begin = begin_after_change(known, schedule)
        if known is None or known.schedule.queue == schedule.queue:
            self._put(schedule, operator_change(schedule), begin=begin)
            return self.get(name)
        if known.declared:
            raise WrongState(
                f"schedule {name!r} is declared for queue {known.schedule.queue!r}: change its declaration"
            )
        # The old record is deleted last, so that a crash loses nothing.
        self._put(schedule, operator_change(schedule), begin=begin or str(known.stored.watermark_ms))
        self._remove(known)
        return self.get(name)

    def start_job(self, name: str) -> ScheduleState:
        """Switch a schedule on; slots that came due while it was off do not count as missed.

        Raises `UnknownSchedule`.
        """
        return self._switch(name, enabled=True)

    def stop_job(self, name: str) -> ScheduleState:
        """Switch a schedule off, at once in every scheduler; its waiting and running jobs stay.

        Raises `UnknownSchedule`.
        """
        return self._switch(name, enabled=False)

    def remove_job(self, name: str) -> None:
        """Remove a schedule that was added at run time, with its history.

        Raises `UnknownSchedule`, and `WrongState` if the code declares it.
        """
        state = self.get(name)
        if state.declared:
            raise WrongState(
                f"schedule {name!r} is declared by the code, a deploy would bring it back: stop it instead"
            )
        self._remove(state)

    def run_job(self, name: str, *, force: bool = False, by: str = "") -> AddedJob:
        """Add a schedule's job now, even if the schedule is off; its calendar does not change.

        Raises `UnknownSchedule`, and `WrongState` if its previous job still waits or runs, unless `force`.
        """
        state = self.get(name)
        due_ms = self._clock.now_ms()
        overlap = Overlap.QUEUE if force else None
        claimed = self.claim(state, Due([(due_ms, "")]), kind="manual", overlap=overlap, by=by)
        job_id = slot_job_id(name, due_ms)
        if claimed.slots.get(due_ms) == "missed":
            slot = next(slot for slot in self.slots(state)[0] if slot.due_ms == due_ms)
            raise WrongState(f"schedule {name!r} was not run: {slot.missed}")
        job = self._queues.get_queue(state.schedule.queue).get(job_id)
        if job is None:
            raise WrongState(f"schedule {name!r} was run, and its job is gone already")
        return AddedJob(job_id, job.queue, job.status, job.opts.priority)

    def slots(self, state: ScheduleState) -> tuple[list[Slot], int | None]:
        """Return a schedule's last slots, newest first, and when one of its jobs last completed (ms)."""
        return self.slots_of([state])[0]

    def slots_of(self, states: Sequence[ScheduleState]) -> list[tuple[list[Slot], int | None]]:
        """Return what `slots` returns for many schedules, in one round trip."""
        return self.book.slots_of([(each.schedule.queue, each.schedule.name) for each in states])

    def claim(
        self, state: ScheduleState, due: Due, *, kind: str = "due", overlap: Overlap | None = None, by: str = ""
    ) -> Claimed:
        """Add the slots' jobs, or record the slots as missed, as for a job that is refused."""
        schedule, slots, prepared, refused = state.schedule, list(due.slots), None, ""
        if any(not missed for _, missed in slots):
            try:
                prepared = self._queues.prepare(_new_job(schedule))
            except BadInput as error:
                if kind == "manual":
                    raise
                refused = f"its job is refused: {error}"
                logger.error("a schedule's job is refused", schedule=schedule.name, error=str(error))
                error_reports.report(error, {"schedule": schedule.name})
                slots = [(at, missed or refused) for at, missed in slots]
        claim = Claim(
            name=schedule.name,
            version=state.stored.version,
            slots=slots,
            job=prepared,
            kind=kind,
            overlap=str(overlap or schedule.overlap),
            by=by,
            more_missed=due.more_missed,
        )
        claimed = self.book.claim(schedule.queue, claim, clock=self._clock.conversion().as_argument())
        if prepared is not None:
            for result in claimed.slots.values():
                if result == "added":
                    self._queues.broker.emit_after("enqueue", prepared.message, 0)
        return dataclasses.replace(claimed, refused=refused)

    def _as_stored(self, schedule: JobSchedule) -> JobSchedule:
        """Return a schedule with its data in JSON form: the caller's data may contain dates, for example.

        Data that its job type refuses is not converted: its slots are missed for that reason.
        """
        try:
            data = self._queues.bind(schedule, schedule.job_type).data
        except BadInput:
            return schedule
        return dataclasses.replace(schedule, data=data)

    def _switch(self, name: str, *, enabled: bool) -> ScheduleState:
        state = self.get(name)

        def switched(stored: StoredSchedule | None) -> Mapping[str, Any] | None:
            if stored is None or stored.enabled == enabled:
                return None
            overrides = {**stored.overrides, "enabled": enabled}
            if stored.declared is not None and stored.declared["enabled"] == enabled:
                del overrides["enabled"]
            return {"enabled": enabled, "declared": stored.declared, "overrides": overrides}

        self._put(state.schedule, switched, begin="now" if enabled else "")
        return self.get(name)

    def _put(self, schedule: JobSchedule, change: Change, *, begin: str = "") -> None:
        clock = self._clock.conversion().as_argument()
        self.book.put(schedule.queue, schedule.name, change, clock=clock, begin=begin)

    def _remove(self, state: ScheduleState) -> None:
        if not self.book.remove(state.schedule.queue, state.schedule.name, state.stored.version):
            raise WrongState(f"schedule {state.schedule.name!r} was changed by somebody else meanwhile: look again")


def _new_job(schedule: JobSchedule) -> NewJob:
    return NewJob(
        queue=schedule.queue,
        job_type=schedule.job_type,
        data=dict(schedule.data),
        priority=schedule.priority,
        attempts=schedule.attempts,
        requested_by=f"schedule:{schedule.name}",
    )
