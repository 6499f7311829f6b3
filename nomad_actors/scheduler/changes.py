"""A schedule's record: what the code declares and what an operator changed, and how each changes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..broker.client.slots import StoredSchedule
from ..queues.schedules.schedule import FIELDS, JobSchedule


@dataclass(frozen=True)
class ScheduleState:
    """A schedule now: its definition, where it comes from, and its record."""

    schedule: JobSchedule
    stored: StoredSchedule
    #: False if it was added at run time.
    declared: bool
    #: The fields that an operator changed.
    overridden: tuple[str, ...]


def read_state(stored: StoredSchedule) -> ScheduleState:
    """Return a stored schedule. Raises `BadInput` or `TypeError` if this release cannot read it."""
    # Ignore fields that a newer release has added.
    fields = {name: value for name, value in {**(stored.declared or {}), **stored.overrides}.items() if name in FIELDS}
    schedule = JobSchedule(name=stored.name, queue=stored.queue, **fields)
    changed = tuple(sorted(stored.overrides)) if stored.declared is not None else ()
    return ScheduleState(schedule, stored, stored.declared is not None, changed)


Change = Callable[[StoredSchedule | None], Mapping[str, Any] | None]


def begin_after_change(known: ScheduleState | None, schedule: JobSchedule) -> str:
    """Return where a changed schedule continues: from now if its calendar changed, else at its watermark."""
    if known is None:
        return "now"
    calendar = known.schedule.expression, known.schedule.timezone
    same = calendar == (schedule.expression, schedule.timezone)
    # Slots that came due while it was off do not count as missed.
    return "" if same and (known.schedule.enabled or not schedule.enabled) else "now"


def begin_after_declaring(known: ScheduleState | None, schedule: JobSchedule) -> str:
    """Return where a schedule continues after its declaration changed; an operator's calendar stays in force."""
    if known is None:
        return "now"
    overrides = known.stored.overrides
    calendar = {name: overrides.get(name, getattr(schedule, name)) for name in ("expression", "timezone", "enabled")}
    return begin_after_change(known, dataclasses.replace(schedule, **calendar))


def declared_change(schedule: JobSchedule, overrides: Mapping[str, Any]) -> Change:
    def change(stored: StoredSchedule | None) -> Mapping[str, Any] | None:
        declared = schedule.as_json()
        before = stored.overrides if stored else overrides
        if stored is not None and stored.declared == declared:
            return None
        # A schedule that was added at run time and is declared now keeps the fields that differ.
        kept = {key: value for key, value in before.items() if declared.get(key) != value}
        return {"enabled": {**declared, **kept}["enabled"], "declared": declared, "overrides": kept}

    return change


def operator_change(schedule: JobSchedule) -> Change:
    def change(stored: StoredSchedule | None) -> Mapping[str, Any] | None:
        chosen = schedule.as_json()
        declared = stored.declared if stored else None
        overrides = {key: value for key, value in chosen.items() if declared is None or declared.get(key) != value}
        if stored is not None and dict(stored.overrides) == overrides:
            return None
        return {"enabled": chosen["enabled"], "declared": declared, "overrides": overrides}

    return change
