"""The schedulers, the schedules, and whether all live processes run the same release."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..broker.client.slots import SchedulerSign, slot_job_id
from ..findings import Finding, Severity
from ..scheduler import status
from ..scheduler.status import ScheduleSnapshot
from ..version import __version__
from .installation import Installation

CLOCK_FIX = "timedatectl set-ntp true\non the host whose clock is wrong"


def schedulers(installation: Installation) -> Iterator[Finding]:
    """Report whether a scheduler is live, its clock, and why it adds no jobs."""
    signs = installation.scheduler.schedulers
    live = [sign for sign in signs if status.is_live(sign)]
    if not live:
        silent_ms = min((sign.silent_ms for sign in signs), default=None)
        ago = "" if silent_ms is None else f" (last heartbeat {silent_ms / 1000:.0f} s ago)"
        found = f"no scheduler is live{ago}: due jobs are not added"
        yield Finding("schedulers", Severity.PROBLEM, found, "nomad run scheduler", runbook="NomadSchedulerSilent")
        return
    summary = f"{len(live)} live: {', '.join(map(_with_clock, live))}"
    suspended = [f"{sign.name} is suspended ({sign.suspended_reason})" for sign in live if sign.suspended_reason]
    off = [sign for sign in live if abs(sign.offset_seconds or 0.0) > installation.limits.clock_warning_seconds]
    if len(suspended) == len(live):
        found = f"{summary}; {'; '.join(suspended)}: due jobs are not added"
        yield Finding("schedulers", Severity.PROBLEM, found, CLOCK_FIX, runbook="NomadSchedulerHolding")
    elif suspended or off:
        found = "; ".join((summary, *suspended))
        yield Finding("schedulers", Severity.WARNING, found, CLOCK_FIX, runbook="NomadSchedulerClockOff")
    else:
        yield Finding("schedulers", Severity.OK, summary)


def _with_clock(sign: SchedulerSign) -> str:
    offset = sign.offset_seconds
    if offset is None or abs(offset) < 1:
        return sign.name
    return f"{sign.name}, its clock {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} Redis'"


def schedules(installation: Installation) -> Iterator[Finding]:
    """Report schedules that are overdue, whose last run failed, or that Redis does not know."""
    reading = installation.scheduler
    on = [snapshot for snapshot in reading.schedules if snapshot.running]
    found = [_failed_last(snapshot) for snapshot in on if snapshot.last_status() == "failed"]
    late = [each for snapshot in on if (each := snapshot.overdue(reading.now_ms)) is not None]
    found += [replace(each, cause=f"overdue: {each.cause}") for each in late]
    # A key of the wrong type is a finding of `records`.
    unreadable = [each for each in reading.unreadable if each.field]
    found += [_problem(each.name, f"cannot be read: {each.why}", each.removal(reading.cli)) for each in unreadable]
    unknown = status.undeclared(installation.queues, {snapshot.state.schedule.name for snapshot in reading.schedules})
    if unknown:
        cause = "not in Redis: it restarted empty, or no scheduler of this release has run yet"
        fix = "nomad run scheduler\ndeclares the schedules of the code"
        names = ", ".join(unknown)
        found.append(Finding("schedules", Severity.PROBLEM, f"{names}: {cause}", fix))
    yield from found
    if not found:
        off = [snapshot.state.schedule.name for snapshot in reading.schedules if not snapshot.running]
        stopped = f", stopped: {', '.join(off)}" if off else ""
        yield Finding("schedules", Severity.OK, f"{len(reading.schedules)}, none overdue{stopped}")


def _problem(subject: str, cause: str, remedy: str, runbook: str = "") -> Finding:
    return Finding(f"schedule {subject}", Severity.PROBLEM, cause, remedy, subject=subject, runbook=runbook)


def _failed_last(snapshot: ScheduleSnapshot) -> Finding:
    name, last = snapshot.state.schedule.name, status.last_with_job(snapshot.slots)
    job_id = slot_job_id(name, last.due_ms if last else 0)
    fix = f"nomad job {job_id}\nshows why; to retry it: nomad retry {job_id}"
    return _problem(name, "the last run failed", fix, "NomadScheduleNotSucceeding")


def releases(installation: Installation) -> Iterator[Finding]:
    """Report whether live workers and schedulers run the same release, if their names contain it."""
    names = {worker.name for queue in installation.readable for worker in queue.workers}
    names |= {sign.name for sign in installation.scheduler.schedulers if status.is_live(sign)}
    by_release: dict[str, list[str]] = {}
    for name in sorted(names):
        if release := release_of(name):
            by_release.setdefault(release, []).append(name)
    if not by_release:
        yield Finding("releases", Severity.UNKNOWN, f"this is {__version__}; no live process reports its release")
    elif set(by_release) == {__version__}:
        yield Finding("releases", Severity.OK, f"all live processes that report their release run {__version__}")
    else:
        listed = "; ".join(f"{release}: {', '.join(names)}" for release, names in sorted(by_release.items()))
        found = f"mixed ({listed}; this program is {__version__})"
        fix = "restart the processes of the old release when the deployment is finished"
        yield Finding("releases", Severity.WARNING, found, fix)


def release_of(name: str) -> str | None:
    """Return the release in the name of a worker or scheduler, `host:pid@release`; None if it has none."""
    return name.rpartition("@")[2] if "@" in name else None
