"""Finds the slots that are due, and applies the schedule's misfire policy to late ones."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..queues.schedules.schedule import JobSchedule, Misfire

#: A slot that is filled within this time is not late.
GRACE_SECONDS = 60
#: How many late slots of one schedule run at most.
CAP = 100
#: Missed slots beyond this number are only counted, not listed.
LISTED = 100


@dataclass(frozen=True, slots=True)
class Due:
    """Slots that are due, oldest first: the instant (ms), and why the slot is missed ('' if it runs)."""

    slots: Sequence[tuple[int, str]]
    #: How many more slots were missed before these.
    more_missed: int = 0


def due_slots(schedule: JobSchedule, watermark_ms: float, now_ms: float) -> Due:
    """Return the slots between the watermark and now, each with the decision whether it runs."""
    # Bounded, however long no scheduler ran: only the last slots are listed.
    last: deque[int] = deque(maxlen=LISTED + CAP)
    count = 0
    for due_ms in schedule.due_ms_after(watermark_ms):
        if due_ms > now_ms:
            break
        last.append(due_ms)
        count += 1
    running = _running(schedule, last, now_ms)
    return Due([(due, "" if due in running else _why(schedule, due, now_ms)) for due in last], count - len(last))


def _running(schedule: JobSchedule, slots: Iterable[int], now_ms: float) -> set[int]:
    """Return the slots that run: all that are in time, and the late ones that the policy allows."""
    most_ms = math.inf if schedule.max_lateness_seconds is None else schedule.max_lateness_seconds * 1000
    in_time, late = [], []
    for due in slots:
        if now_ms - due <= GRACE_SECONDS * 1000:
            in_time.append(due)
        elif now_ms - due <= most_ms:
            late.append(due)
    if schedule.misfire == Misfire.ALL:
        return {*in_time, *late[-CAP:]}
    # A slot that is in time replaces all late ones.
    made_up = late[-1:] if schedule.misfire == Misfire.ONCE and not in_time else []
    return {*in_time, *made_up}


def _why(schedule: JobSchedule, due: int, now_ms: float) -> str:
    late_seconds = (now_ms - due) / 1000
    if schedule.misfire == Misfire.SKIP:
        return f"no scheduler could add it in time ({late_seconds:.0f} s late)"
    if schedule.max_lateness_seconds is not None and late_seconds > schedule.max_lateness_seconds:
        return f"{late_seconds:.0f} s late, more than {schedule.max_lateness_seconds:g} s"
    if schedule.misfire == Misfire.ONCE:
        return f"{late_seconds:.0f} s late; a later slot runs instead"
    return f"{late_seconds:.0f} s late; only the last {CAP} late slots run"
