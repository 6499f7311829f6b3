"""A schedule's record: what the code declares, what an operator put over it, and how each changes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..broker.client.slots import StoredSchedule
from ..queues.schedules.schedule import FIELDS, JobSchedule


@dataclass(frozen=True)
class ScheduleState:
    """A schedule as it stands: its definition, where it comes from, and its record."""

    schedule: JobSchedule
    stored: StoredSchedule
    #: Whether the code declares it; else it was added at run time.
    declared: bool
    #: The fields that an operator changed.
    overridden: tuple[str, ...]


def read_standing(stored: StoredSchedule) -> ScheduleState:
    """Return a schedule as it stands. Raises `BadInput` or `TypeError` for one that this release cannot read."""
    # What a newer release has added does not keep an older one from its work.
    fields = {name: value for name, value in {**(stored.declared or {}), **stored.overrides}.items() if name in FIELDS}
    schedule = JobSchedule(name=stored.name, queue=stored.queue, **fields)
    changed = tuple(sorted(stored.overrides)) if stored.declared is not None else ()
    return ScheduleState(schedule, stored, stored.declared is not None, changed)


Change = Callable[[StoredSchedule | None], Mapping[str, Any] | None]


def begin_of(known: ScheduleState | None, schedule: JobSchedule) -> str:
    """Return where a changed schedule goes on: with another calendar, from now."""
    if known is None:
        return "now"
    calendar = known.schedule.expression, known.schedule.timezone
    same = calendar == (schedule.expression, schedule.timezone)
    # What came due while it was off was not missed.
    return "" if same and (known.schedule.enabled or not schedule.enabled) else "now"


def begin_declared(known: ScheduleState | None, schedule: JobSchedule) -> str:
    """Return where a schedule goes on whose declaration changed: an operator's calendar stays what it was."""
    if known is None:
        return "now"
    over = known.stored.overrides
    expression, timezone = over.get("expression", schedule.expression), over.get("timezone", schedule.timezone)
    enabled = over.get("enabled", schedule.enabled)
    return begin_of(known, dataclasses.replace(schedule, expression=expression, timezone=timezone, enabled=enabled))


def declaring(schedule: JobSchedule, overrides: Mapping[str, Any]) -> Change:
    def change(stored: StoredSchedule | None) -> Mapping[str, Any] | None:
        declared = schedule.as_json()
        kept = stored.overrides if stored else overrides
        if stored is not None and stored.declared == declared:
            return None
        # What was added at run time and is declared now differs in what it says otherwise.
        over = {key: value for key, value in kept.items() if declared.get(key) != value}
        return {"enabled": {**declared, **over}["enabled"], "declared": declared, "overrides": over}

    return change


def changing(schedule: JobSchedule) -> Change:
    def change(stored: StoredSchedule | None) -> Mapping[str, Any] | None:
        wanted = schedule.as_json()
        declared = stored.declared if stored else None
        over = {key: value for key, value in wanted.items() if declared is None or declared.get(key) != value}
        if stored is not None and dict(stored.overrides) == over:
            return None
        return {"enabled": wanted["enabled"], "declared": declared, "overrides": over}

    return change
