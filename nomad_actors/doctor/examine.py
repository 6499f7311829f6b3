"""The list of checks, in the order of asking: what everything else stands on comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import NomadError, Unavailable
from ..log import redact
from . import host, queue_checks, redis_checks, schedule_checks
from .findings import Finding, Patient, Status

Check = Callable[[Patient], Iterable[Finding]]

#: By name: what is told when a check cannot be made.
ON_REDIS: tuple[tuple[str, Check], ...] = (
    ("redis", redis_checks.server),
    ("schedulers", schedule_checks.schedulers),
    ("schedules", schedule_checks.schedules),
    ("releases", schedule_checks.releases),
    ("job types", queue_checks.job_types),
    ("queues", queue_checks.moving),
    ("health", queue_checks.health),
)
ON_THE_HOST: tuple[tuple[str, Check], ...] = (
    ("database", host.database),
    ("disk", host.disk),
)

_WORST_LAST = (Status.OK, Status.UNKNOWN, Status.WARNING, Status.PROBLEM)


@dataclass(frozen=True)
class Report:
    """What all checks found, at one time (ms)."""

    at_ms: int
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether no check found a problem."""
        return not any(finding.status is Status.PROBLEM for finding in self.findings)

    @property
    def status(self) -> Status:
        """The worst of what was found."""
        return max((finding.status for finding in self.findings), key=_WORST_LAST.index, default=Status.OK)

    def as_json(self) -> dict[str, object]:
        """Return the form that `nomad doctor --json` and the admin tell."""
        return {
            "healthy": self.healthy,
            "status": str(self.status),
            "at": self.at_ms,
            "checks": [finding.as_json() for finding in self.findings],
        }


def examine(patient: Patient) -> Report:
    """Make every check; what cannot be found out is told as unknown, and nothing is raised for it."""
    reached = redis_checks.reached(patient)
    findings = [reached]
    if reached.status is Status.PROBLEM:
        findings += [Finding(name, Status.UNKNOWN, "Redis does not answer") for name, _ in ON_REDIS[1:]]
    else:
        findings += _made(patient, ON_REDIS)
    findings += _made(patient, ON_THE_HOST)
    return Report(patient.clock.now_ms(), tuple(findings))


def _made(patient: Patient, checks: Iterable[tuple[str, Check]]) -> list[Finding]:
    found: list[Finding] = []
    for name, check in checks:
        try:
            found += check(patient)
        except Unavailable as error:
            found.append(Finding(name, Status.UNKNOWN, redact(str(error))))
        except NomadError as error:
            found.append(Finding(name, Status.PROBLEM, redact(str(error))))
    return found
