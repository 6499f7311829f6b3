"""What a check is given, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..broker import JobBroker
from ..clock import Clock
from ..queues import Queues
from ..settings import Settings
from ..thresholds import DOCTOR, DoctorThresholds


class Status(StrEnum):
    """How a check came out, from the best to the worst."""

    OK = "ok"
    #: It could not be found out; what was found says why.
    UNKNOWN = "unknown"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it; `fix` is empty when nothing is to be done."""

    name: str
    status: Status
    found: str
    fix: str = ""

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
