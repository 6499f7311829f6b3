"""A finding of a health check: one problem with its severity, cause and remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """The result of a check, from best to worst."""

    OK = "ok"
    #: The check could not run; the cause names why.
    UNKNOWN = "unknown"
    WARNING = "warning"
    PROBLEM = "problem"


class Area(StrEnum):
    """The area of the system that a finding belongs to; health is reported by area."""

    REDIS = "redis"
    SCHEDULES = "scheduledJobs"
    QUEUES = "queues"
    WORKERS = "workers"
    DATABASE = "database"
    ESI = "esi"
    HOST = "host"


@dataclass(frozen=True)
class Finding:
    """The result of one check and its remedy, which is empty if nothing needs to be done.

    The first line of `remedy` is either a command as it is typed, or text; explanations of a command follow it.
    """

    #: The check, and its subject if it has several: `redis memory`, `queue esi-refresh`.
    name: str
    severity: Severity
    cause: str
    remedy: str = ""
    #: The queue, schedule or part, if `name` contains more than that.
    subject: str = ""
    #: All queues concerned, if there are several.
    subjects: tuple[str, ...] = ()
    #: The entry of docs/runbook.md about it.
    runbook: str = ""
    #: The list of checks sets it.
    area: Area = Area.HOST

    def in_words(self) -> str:
        return "; ".join((f"{self.subject or self.name}: {self.cause}", *self.remedy.splitlines()))
