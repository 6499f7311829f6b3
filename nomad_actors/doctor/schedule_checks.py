"""The schedulers and their schedules, and whether everything that runs is of one release."""

from __future__ import annotations

from collections.abc import Iterator

from ..queue_control import redis_errors
from ..scheduler import status
from ..thresholds import SCHEDULES
from ..version import __version__
from .findings import Finding, Patient, Status


def schedulers(patient: Patient) -> Iterator[Finding]:
    """Tell whether a scheduler lives, and whether its clock can be right."""
    with redis_errors():
        book = patient.queues.schedule_book()
        heard, redis_ms = book.schedulers(), book.redis_ms()
    now_ms = patient.clock.reckoning().of(redis_ms)
    silent_ms = SCHEDULES.silent_seconds * 1000
    live = sorted(name for name, at in heard.items() if now_ms - at <= silent_ms)
    ahead = {name: (heard[name] - now_ms) / 1000 for name in live}
    wrong = [f"{name} is {by:.0f} s ahead" for name, by in ahead.items() if by > patient.limits.clock_problem_seconds]
    if not live:
        last = max(heard.values(), default=None)
        ago = "" if last is None else f" (the last was heard of {(now_ms - last) / 1000:.0f} s ago)"
        found = f"none lives{ago}: nothing that is due is added"
        yield Finding("schedulers", Status.PROBLEM, found, "nomad run scheduler")
    elif wrong:
        found = f"clocks are wrong: {', '.join(wrong)} of Redis'"
        yield Finding("schedulers", Status.PROBLEM, found, "timedatectl set-ntp true, on the scheduler's host")
    else:
        yield Finding("schedulers", Status.OK, f"{len(live)} live: {', '.join(live)}")


def schedules(patient: Patient) -> Iterator[Finding]:
    """Tell which schedules are overdue."""
    told = status.read_all(patient.queues, patient.clock)
    now_ms = patient.clock.now_ms()
    overdue = [(each.standing.schedule.name, why) for each in told if (why := each.overdue(now_ms)) is not None]
    for name, why in overdue:
        yield Finding(f"schedule {name}", Status.PROBLEM, f"overdue: {why}", f"nomad schedules run {name}")
    if not overdue:
        off = [each.standing.schedule.name for each in told if not each.running]
        stopped = f", stopped: {', '.join(off)}" if off else ""
        yield Finding("schedules", Status.OK, f"{len(told)}, none overdue{stopped}")


def releases(patient: Patient) -> Iterator[Finding]:
    """Tell whether live workers and schedulers are of one release, as far as their names tell it."""
    names = {worker.name for name in patient.queues.names() for worker in patient.queues.get_queue(name).workers()}
    with redis_errors():
        book = patient.queues.schedule_book()
        heard, now_ms = book.schedulers(), patient.clock.reckoning().of(book.redis_ms())
    names |= {name for name, at in heard.items() if now_ms - at <= SCHEDULES.silent_seconds * 1000}
    by_release: dict[str, list[str]] = {}
    for name in sorted(names):
        if release := release_of(name):
            by_release.setdefault(release, []).append(name)
    if not by_release:
        yield Finding("releases", Status.UNKNOWN, f"this is {__version__}; what runs does not tell its release")
    elif set(by_release) == {__version__}:
        yield Finding("releases", Status.OK, f"everything that tells its release is {__version__}")
    else:
        told = "; ".join(f"{release}: {', '.join(names)}" for release, names in sorted(by_release.items()))
        found = f"mixed ({told}; this command is {__version__})"
        yield Finding("releases", Status.WARNING, found, "restart what is of the old release when the deploy is over")


def release_of(name: str) -> str | None:
    """Return the release that a worker or scheduler tells in its name, `host:pid@release`."""
    return name.rpartition("@")[2] if "@" in name else None
