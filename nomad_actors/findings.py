"""What a check finds: one problem, its cause and its remedy, whoever looks for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How a check came out, from the best to the worst."""

    OK = "ok"
    #: It could not be found out; the cause says why.
    UNKNOWN = "unknown"
    WARNING = "warning"
    PROBLEM = "problem"


class Area(StrEnum):
    """What a finding is about: the parts that the health of the system is reported by."""

    REDIS = "redis"
    SCHEDULES = "scheduledJobs"
    QUEUES = "queues"
    WORKERS = "workers"
    DATABASE = "database"
    HOST = "host"


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it; `remedy` is empty when nothing is to be done.

    Its first line is a command alone, as it is typed, or words; what there is to say of a command is on lines below it.
    """

    #: The check, and what it is about where there are several: `redis memory`, `queue esi-refresh`.
    name: str
    severity: Severity
    cause: str
    remedy: str = ""
    #: The queue, schedule or part that it is about, where `name` has more than that.
    subject: str = ""
    #: All queues that it is about, where there are several.
    subjects: tuple[str, ...] = ()
    #: The entry of docs/runbook.md that says more.
    runbook: str = ""
    #: Set by the list of checks.
    area: Area = Area.HOST

    def in_words(self) -> str:
        """Return it as one sentence."""
        return "; ".join((f"{self.subject or self.name}: {self.cause}", *self.remedy.splitlines()))
