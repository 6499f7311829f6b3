"""What a check is given, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..broker import JobBroker
from ..clock import Clock
from ..queues import Queues
from ..scheduler.status import Reading
from ..settings import Settings
from ..store.database import Database
from ..thresholds import DOCTOR, DoctorThresholds


class Area(StrEnum):
    """What a finding is about: the parts that the health of the system is reported by."""

    REDIS = "redis"
    SCHEDULES = "scheduledJobs"
    QUEUES = "queues"
    WORKERS = "workers"
    DATABASE = "database"
    HOST = "host"


class Status(StrEnum):
    """How a check came out, from the best to the worst."""

    OK = "ok"
    #: It could not be found out; what was found says why.
    UNKNOWN = "unknown"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it; `fix` is empty when nothing is to be done.

    Its first line is a command alone, as it is typed, or words; what there is to say of a command is on lines below it.
    """

    name: str
    status: Status
    found: str
    fix: str = ""
    #: The queue, schedule or part that it is about, where `name` has more than that.
    subject: str = ""
    #: All queues that it is about, where there are several.
    subjects: tuple[str, ...] = ()
    #: Set by the list of checks.
    area: Area = Area.HOST

    def in_words(self) -> str:
        """Return it as one sentence."""
        return "; ".join((f"{self.subject or self.name}: {self.found}", *self.fix.splitlines()))

    def as_json(self) -> dict[str, str]:
        """Return the form that `nomad doctor --json` and the admin tell."""
        return {"name": self.name, "status": str(self.status), "found": self.found, "fix": self.fix}


@dataclass(frozen=True)
class Patient:
    """What is examined: the parts of an application that a check may ask."""

    settings: Settings
    clock: Clock
    broker: JobBroker
    queues: Queues
    limits: DoctorThresholds = DOCTOR
    #: An open database to ask; without it one is opened for the check.
    database: Database | None = None
    #: The state of the schedules, where the caller has read it already.
    scheduler: Reading | None = None
