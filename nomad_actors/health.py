"""Whether the job system is healthy and, where not, what is wrong and what to do, in words.

The limits are those of the alerts (`thresholds`). Every function raises `Unavailable` when Redis does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import pauses
from .broker.errors import Refusal
from .broker.server import ServerFacts
from .broker.slots import slot_job_id
from .queues import Queue, Queues
from .scheduler import status
from .scheduler.status import Reading, Told
from .thresholds import ALERTS, DOCTOR, Thresholds, of_queue


@dataclass(frozen=True)
class Issue:
    """One thing that is wrong: with what, what it is, and what mends it, a command where there is one."""

    subject: str
    found: str
    fix: str

    def in_words(self) -> str:
        """Return it in one sentence."""
        return f"{self.subject}: {self.found}; {self.fix}"


def system_health(queues: Queues, scheduler: Reading) -> dict[str, Any]:
    """Return whether the job system is healthy; see `job_metrics.get_job_system_health`.

    A paused queue is told among the issues, but somebody wanted it so: it is not unhealthy.
    """
    facts = queues.server_facts()
    found = [_told_of(queues.get_queue(name)) for name in queues.names()]
    of_redis = redis_issues(facts)
    of_schedules = [*schedule_issues(queues, scheduler), *scheduler_issues(scheduler)]
    unhealthy = sum(bool(told.problems) for told in found)
    fix = "nomad doctor" if facts.refusal in NO_SIGN_OF_LIFE else f"{UNSERVED_FIX}, and look at what its log says"
    issues_of_workers = [Issue(told.queue, unserved(facts.refusal), fix) for told in found if not told.is_served]
    running = sum(told.running for told in scheduler.told)
    return {
        "healthy": not (unhealthy or issues_of_workers or of_schedules or of_redis),
        "queues": {
            "total": len(found),
            "healthy": len(found) - unhealthy,
            "unhealthy": unhealthy,
            "issues": [issue for told in found for issue in (*_in_words(told.problems), *told.notes)],
        },
        "scheduledJobs": {
            "total": len(scheduler.told),
            "running": running,
            "stopped": len(scheduler.told) - running,
            "issues": _in_words(of_schedules),
        },
        "workers": {
            "total": len(found),
            "active": len(found) - len(issues_of_workers),
            "issues": _in_words(issues_of_workers),
        },
        "redis": {"issues": _in_words(of_redis)},
    }


@dataclass(frozen=True)
class _Told:
    queue: str
    problems: Sequence[Issue]
    notes: Sequence[str]
    is_served: bool


def _told_of(queue: Queue) -> _Told:
    waiting = queue.counts()["paused"]
    notes = [f"{queue.name}: {told}; {waiting} jobs wait; {fix}" for told, fix in _paused(queue)]
    return _Told(queue.name, queue_issues(queue), notes, is_served=bool(queue.workers()))


def _paused(queue: Queue) -> list[tuple[str, str]]:
    return [(pauses.in_words(each), pauses.ended_by(queue.name, each.scope)) for each in queue.pauses()]


def queue_issues(queue: Queue) -> list[Issue]:
    """Return what is beyond a queue's limits: failures, running jobs, and what waits unless the queue is paused."""
    limits = of_queue(queue.name)
    issues = [*_failing(queue, limits), *_stuck(queue, limits)]
    # What waits in a paused queue does so because of the pause; to call it a backlog would hide the reason.
    return issues if queue.is_paused() else issues + _backed_up(queue, limits)


def _failing(queue: Queue, limits: Thresholds) -> list[Issue]:
    stats = queue.stats(limits.failure_window_seconds)
    ended = stats.completed + stats.failed
    if ended < max(1, limits.failure_least_ended):
        return []
    percent = round(100 * stats.failed / ended, 2)
    if percent <= limits.failure_percent:
        return []
    minutes = limits.failure_window_seconds // 60
    found = (
        f"{stats.failed} of {ended} jobs failed in the last {minutes} minutes ({percent} %, more than "
        f"{limits.failure_percent:g} %)"
    )
    fix = f"nomad failures {queue.name} says why; when it is mended: nomad retry --failed {queue.name}"
    return [Issue(queue.name, found, fix)]


def _backed_up(queue: Queue, limits: Thresholds) -> list[Issue]:
    found: list[str] = []
    waiting, oldest_ms = queue.counts()["waiting"], queue.oldest_waiting_ms()
    if limits.waiting_jobs is not None and waiting > limits.waiting_jobs:
        found.append(f"{waiting} jobs wait, more than {limits.waiting_jobs}")
    drain_seconds = _drain_seconds(queue, waiting, oldest_ms, limits)
    if limits.drain_seconds is not None and drain_seconds is not None and drain_seconds > limits.drain_seconds:
        found.append(
            f"at the pace of the last hour its {waiting} waiting jobs take {_duration(drain_seconds * 1000)}, "
            f"longer than {_duration(limits.drain_seconds * 1000)}"
        )
    if oldest_ms is not None and oldest_ms > limits.oldest_waiting_seconds * 1000:
        longest = _duration(limits.oldest_waiting_seconds * 1000)
        found.append(f"its oldest job has waited {_duration(oldest_ms)}, longer than {longest}")
    places = f"NOMAD_CONCURRENCY_{queue.name.upper().replace('-', '_')}"
    fix = (
        f"nomad doctor says whether something holds it back; for more places: nomad run workers, or {places}; whether "
        f"its jobs have become slow: nomad jobs {queue.name} --status active"
    )
    return [Issue(queue.name, each, fix) for each in found]


def _drain_seconds(queue: Queue, waiting: int, oldest_ms: int | None, limits: Thresholds) -> float | None:
    """Return how long what waits takes at the present pace; None when there is none yet, or none at all.

    Until the queue has had work for the whole window, the pace is that of its idle time. When nothing ended in all of
    it, the age will tell.
    """
    if limits.drain_seconds is None or oldest_ms is None or oldest_ms < limits.drain_least_age_seconds * 1000:
        return None
    window_seconds = ALERTS.drain_window_seconds
    stats = queue.stats(window_seconds)
    ended = stats.completed + stats.failed
    return waiting * window_seconds / ended if ended else None


def _stuck(queue: Queue, limits: Thresholds) -> list[Issue]:
    return [
        Issue(
            queue.name,
            f"job {overrun.job.id} ({overrun.job.name}) has run {_duration(overrun.ran_ms)}, longer than its "
            f"time limit of {_duration(overrun.limit_ms)}",
            f"nomad cancel {overrun.job.id} --reason hangs; if it holds on, stop its worker (nomad job "
            f"{overrun.job.id} names it): the job is then given to another",
        )
        for overrun in queue.overruns()
        if overrun.over_ms > limits.beyond_time_limit_seconds * 1000
    ]


def redis_issues(facts: ServerFacts) -> list[Issue]:
    """Return why Redis takes no change, or soon will take none."""
    if facts.refusal is not None:
        room = "make room: nomad clean QUEUE --status completed" if facts.refusal is Refusal.FULL else "nomad doctor"
        return [Issue("Redis", str(facts.refusal), room)]
    percent = facts.memory_percent
    if percent is None or percent < DOCTOR.memory_problem_percent:
        return []
    found = f"{percent:.0f} % of its memory limit are used; when it is full, no job can be added"
    return [Issue("Redis", found, "make room: nomad clean QUEUE --status completed")]


#: What keeps workers from saying that they live; a full Redis does not.
NO_SIGN_OF_LIFE = (Refusal.DISK, Refusal.REPLICA)
UNSERVED_FIX = "nomad run workers"


def unserved(refusal: Refusal | None) -> str:
    """Return what is wrong with a queue that no live worker is heard of in, for a Redis that may refuse to hear."""
    if refusal in NO_SIGN_OF_LIFE:
        return "no live worker is heard of: Redis takes no change, so none can say that it lives"
    return "no live worker serves it"


def schedule_issues(queues: Queues, scheduler: Reading) -> list[Issue]:
    """Return what is wrong with the schedules that are on, and which of the code's Redis does not know."""
    on = [told for told in scheduler.told if told.running]
    found = [_failed_last(told) for told in on if told.last_status() == "failed"]
    late = [(told.standing.schedule.name, told.overdue(scheduler.now_ms)) for told in on]
    found += [Issue(name, f"overdue: {why.found}", why.fix) for name, why in late if why is not None]
    unknown = status.undeclared(queues, {told.standing.schedule.name for told in scheduler.told})
    if unknown:
        said = "unknown to Redis, which came back empty or has not met a scheduler of this release"
        found.append(Issue(", ".join(unknown), said, "a scheduler declares what the code does: nomad run scheduler"))
    return found


def scheduler_issues(scheduler: Reading) -> list[Issue]:
    """Return why nothing that is due is added: no scheduler lives, or each that does holds."""
    live = [sign for sign in scheduler.schedulers if status.is_live(sign)]
    if not live:
        return [Issue("schedulers", "none lives: nothing that is due is added", "nomad run scheduler")]
    if any(not sign.holds for sign in live):
        return []
    why = "; ".join(f"{sign.name} holds ({sign.holds})" for sign in live)
    return [Issue("schedulers", f"{why}: nothing that is due is added", CLOCK_FIX)]


#: What mends clocks that disagree.
CLOCK_FIX = "timedatectl set-ntp true, on the host whose clock is wrong"


def _failed_last(told: Told) -> Issue:
    name, last = told.standing.schedule.name, status.last_with_job(told.slots)
    job_id = slot_job_id(name, last.due_ms if last else 0)
    return Issue(name, "its last job failed", f"nomad job {job_id} says why; when mended: nomad retry {job_id}")


def _in_words(issues: Sequence[Issue]) -> list[str]:
    return [issue.in_words() for issue in issues]


def _duration(ms: float) -> str:
    minutes, seconds = divmod(int(ms) // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
