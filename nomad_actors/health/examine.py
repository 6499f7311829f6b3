"""The list of checks, in the order of asking: what everything else stands on comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import NomadError, Unavailable
from ..findings import Area, Finding, Severity
from ..logs import redact
from . import file_checks, host, queue_checks, queue_limits, redis_checks, schedule_checks
from .installation import Installation
from .models import Check, DoctorReport
from .stillness import START_WORKERS

CheckFunction = Callable[[Installation], Iterable[Finding]]

#: By name, which is reported when a check cannot be made, and by what each is about.
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
)

_WORST_LAST = (Severity.OK, Severity.UNKNOWN, Severity.WARNING, Severity.PROBLEM)


@dataclass(frozen=True)
class Report:
    """What all checks found, at one time (ms)."""

    at_ms: int
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether no check found a problem."""
        return not any(finding.severity is Severity.PROBLEM for finding in self.findings)

    @property
    def status(self) -> Severity:
        """The worst of what was found."""
        return max((finding.severity for finding in self.findings), key=_WORST_LAST.index, default=Severity.OK)

    def as_json(self) -> dict[str, Any]:
        """Return the form of `nomad doctor --json` and the admin's API."""
        checks = [Check.of(finding) for finding in self.findings]
        report = DoctorReport.model_construct(
            healthy=self.healthy, status=self.status.value, at=self.at_ms, checks=checks
        )
        return report.as_json()


def examine(installation: Installation) -> Report:
    """Make every check; what cannot be found out is told as unknown, and nothing is raised for it."""
    reached = replace(redis_checks.reached(installation), area=Area.REDIS)
    findings = [reached, *_made(installation, ON_REDIS, needs=reached)]
    on_host = _made(installation, ON_THE_HOST)
    database = next(finding for finding in on_host if finding.area is Area.DATABASE)
    on_database = [*on_host, *_made(installation, ON_THE_DATABASE, needs=database)]
    findings = [_after_its_cause(finding, on_database) for finding in findings]
    return Report(installation.clock.now_ms(), (*findings, *on_database))


def _after_its_cause(finding: Finding, on_database: Iterable[Finding]) -> Finding:
    """Point from missing workers to what keeps them from starting: the command alone would end at once."""
    problems = (each for each in on_database if each.area is Area.DATABASE and each.severity is Severity.PROBLEM)
    cause = next(problems, None)
    if cause is None or finding.remedy != START_WORKERS:
        return finding
    first = f"first see the finding `{cause.name}`: workers do not start before; then:"
    return replace(finding, remedy=f"{first}\n{finding.remedy}")


def _made(
    installation: Installation, checks: Iterable[tuple[str, Area, CheckFunction]], *, needs: Finding | None = None
) -> list[Finding]:
    """Make checks; where `needs` is a problem none of them is made, since each would wait for what does not answer."""
    if needs is not None and needs.severity is Severity.PROBLEM:
        whose = "Redis" if needs.area is Area.REDIS else "the database"
        why = f"not looked at, since {whose} cannot be used now"
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
