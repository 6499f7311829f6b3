"""The health of the job system with the original system's names: the doctor's findings, grouped by area.

There is one list of checks: `nomad doctor`, the overview, `/admin/jobs/health` and `/readyz` all report its result.
"""

from __future__ import annotations

from ..findings import Area, Finding, Severity
from ..queues import Queues
from ..scheduler.status import SchedulerSnapshot
from .examine import Report
from .models import Health, PartHealth, QueueHealth, ScheduleHealth, WorkerHealth


def system_health(report: Report, queues: Queues, scheduler: SchedulerSnapshot) -> Health:
    """Return whether the job system is healthy; see `job_metrics.get_job_system_health`.

    What stops a queue on purpose, such as a pause, is among its issues but does not make it unhealthy.
    """
    names = queues.names()
    unhealthy, unserved = (_subjects(report, area) & set(names) for area in (Area.QUEUES, Area.WORKERS))
    running = sum(snapshot.running for snapshot in scheduler.schedules)
    redis, database, host = (
        PartHealth(issues=_issues(report, area)) for area in (Area.REDIS, Area.DATABASE, Area.HOST)
    )
    return Health(
        healthy=report.healthy,
        queues=QueueHealth(
            total=len(names),
            healthy=len(names) - len(unhealthy),
            unhealthy=len(unhealthy),
            issues=_issues(report, Area.QUEUES, Severity.PROBLEM) + _issues(report, Area.QUEUES, Severity.WARNING),
        ),
        scheduled_jobs=ScheduleHealth(
            total=len(scheduler.schedules),
            running=running,
            stopped=len(scheduler.schedules) - running,
            issues=_issues(report, Area.SCHEDULES),
        ),
        workers=WorkerHealth(total=len(names), active=len(names) - len(unserved), issues=_issues(report, Area.WORKERS)),
        redis=redis,
        database=database,
        host=host,
    )


def _of(report: Report, area: Area, status: Severity) -> list[Finding]:
    return [finding for finding in report.findings if finding.area is area and finding.severity is status]


def _issues(report: Report, area: Area, status: Severity = Severity.PROBLEM) -> list[str]:
    return [finding.in_words() for finding in _of(report, area, status)]


def _subjects(report: Report, area: Area) -> set[str]:
    found = _of(report, area, Severity.PROBLEM)
    return {subject for finding in found for subject in (finding.subject, *finding.subjects)}
