"""The list of checks, and their result: the doctor's report, and by area the health with the original system's names.

`nomad doctor`, the overview, `/admin/jobs/health` and `/readyz` all report it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import NomadError, Unavailable
from ..findings import Area, Finding, Severity
from ..logs import redact
from ..queues import Queues
from ..scheduler.status import SchedulerSnapshot
from . import esi_checks, file_checks, history, host, queue_checks, queue_limits, redis_checks, schedule_checks
from .installation import Installation
from .models import Check, DoctorReport, Health, PartHealth, QueueHealth, ScheduleHealth, WorkerHealth
from .queue_checks import START_WORKERS

CheckFunction = Callable[[Installation], Iterable[Finding]]

#: Name, area and function of each check; the name is reported if the check cannot run.
ON_REDIS: tuple[tuple[str, Area, CheckFunction], ...] = (
    ("redis", Area.REDIS, redis_checks.server),
    ("schedulers", Area.SCHEDULES, schedule_checks.schedulers),
    ("schedules", Area.SCHEDULES, schedule_checks.schedules),
    ("releases", Area.WORKERS, schedule_checks.releases),
    ("job types", Area.QUEUES, queue_checks.job_types),
    ("workers", Area.WORKERS, queue_checks.workers),
    ("records", Area.QUEUES, queue_checks.records),
    ("queues", Area.QUEUES, queue_checks.moving),
    ("health", Area.QUEUES, queue_limits.limits),
    ("esi limits", Area.ESI, esi_checks.limits),
)
ON_THE_HOST: tuple[tuple[str, Area, CheckFunction], ...] = (
    ("redis log", Area.REDIS, redis_checks.own_log),
    ("database", Area.DATABASE, host.database),
    ("database writes", Area.DATABASE, file_checks.database_writes),
    ("disk", Area.HOST, host.disk),
    ("files", Area.HOST, file_checks.files),
)
ON_THE_DATABASE: tuple[tuple[str, Area, CheckFunction], ...] = (
    ("token keys", Area.DATABASE, file_checks.token_keys),
    ("database rows", Area.DATABASE, host.rows),
    ("rows set aside", Area.DATABASE, host.set_aside),
    ("history", Area.ESI, history.completeness),
    ("esi data", Area.ESI, esi_checks.data),
)


@dataclass(frozen=True)
class Report:
    """The findings of all checks, and when they were made."""

    at_ms: int
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        return not any(finding.severity is Severity.PROBLEM for finding in self.findings)

    @property
    def status(self) -> Severity:
        return max((finding.severity for finding in self.findings), key=list(Severity).index, default=Severity.OK)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON of `nomad doctor --json` and the admin's API."""
        checks = [
            Check.model_construct(name=each.name, status=each.severity.value, found=each.cause, fix=each.remedy)
            for each in self.findings
        ]
        return DoctorReport.model_construct(
            healthy=self.healthy, status=self.status.value, at=self.at_ms, checks=checks
        ).as_json()


def examine(installation: Installation) -> Report:
    """Run every check; one that cannot run gives a finding of severity `unknown`, and nothing is raised."""
    # The parts that all others need are checked first.
    reached = replace(redis_checks.reached(installation), area=Area.REDIS)
    findings = [reached, *_run_checks(installation, ON_REDIS, needs=reached)]
    on_host = _run_checks(installation, ON_THE_HOST)
    database = next(finding for finding in on_host if finding.area is Area.DATABASE)
    on_database = [*on_host, *_run_checks(installation, ON_THE_DATABASE, needs=database)]
    findings = [_name_cause(finding, on_database) for finding in findings]
    return Report(installation.clock.now_ms(), (*findings, *on_database))


def _name_cause(finding: Finding, on_database: Iterable[Finding]) -> Finding:
    """If the database keeps workers from starting, say so: the command alone would exit at once."""
    problems = (each for each in on_database if each.area is Area.DATABASE and each.severity is Severity.PROBLEM)
    cause = next(problems, None)
    if cause is None or finding.remedy != START_WORKERS:
        return finding
    first = f"first fix the finding `{cause.name}`: workers cannot start before; then:"
    return replace(finding, remedy=f"{first}\n{finding.remedy}")


def _run_checks(
    installation: Installation, checks: Iterable[tuple[str, Area, CheckFunction]], *, needs: Finding | None = None
) -> list[Finding]:
    """Run checks. If `needs` is a problem, run none: each would wait for a server that does not answer."""
    if needs is not None and needs.severity is Severity.PROBLEM:
        whose = "Redis" if needs.area is Area.REDIS else "the database"
        why = f"not checked, because {whose} cannot be used now"
        return [Finding(name, Severity.UNKNOWN, why, area=area) for name, area, _ in checks if name != needs.name]
    found: list[Finding] = []
    for name, area, check in checks:
        try:
            of_check = list(check(installation))
        except Unavailable as error:
            of_check = [Finding(name, Severity.UNKNOWN, redact(str(error)))]
        except NomadError as error:
            of_check = [Finding(name, Severity.PROBLEM, redact(str(error)))]
        found += [replace(each, area=area) for each in of_check]
    return found


def system_health(report: Report, queues: Queues, scheduler: SchedulerSnapshot) -> Health:
    """Return whether the job system is healthy; see `job_metrics.get_job_system_health`.

    What stops a queue on purpose, such as a pause, is among its issues but does not make it unhealthy.
    """
    names = queues.names()
    unhealthy, unserved = (_subjects(report, area) & set(names) for area in (Area.QUEUES, Area.WORKERS))
    running = sum(snapshot.running for snapshot in scheduler.schedules)
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
        redis=PartHealth(issues=_issues(report, Area.REDIS)),
        database=PartHealth(issues=_issues(report, Area.DATABASE)),
        esi=PartHealth(issues=_issues(report, Area.ESI)),
        host=PartHealth(issues=_issues(report, Area.HOST)),
    )


def _of(report: Report, area: Area, status: Severity) -> list[Finding]:
    return [finding for finding in report.findings if finding.area is area and finding.severity is status]


def _issues(report: Report, area: Area, status: Severity = Severity.PROBLEM) -> list[str]:
    return [finding.in_words() for finding in _of(report, area, status)]


def _subjects(report: Report, area: Area) -> set[str]:
    found = _of(report, area, Severity.PROBLEM)
    return {subject for finding in found for subject in (finding.subject, *finding.subjects)}
