"""What a rule, an alert and a group of them are, and the form that Prometheus reads them in."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .promql import duration

#: How often rules are looked at; those over hours need it less often, and cost more.
EVALUATION_SECONDS = 15
LONG_EVALUATION_SECONDS = 60

#: Somebody must act now; or within the working day.
CRITICAL, WARNING = "critical", "warning"

#: The base of every `runbook_url`: where the runbook lies in the repository, unless the generator is told another one.
RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A question whose answer is kept as a series of its own, named `level:metric:operation`."""

    name: str
    expr: str

    def as_yaml(self, runbook: str) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {"record": self.name, "expr": _text(self.expr)}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A state that somebody must know of: `summary` says what it is, `description` where and what to do first."""

    name: str
    expr: str
    for_seconds: float = 0
    severity: str
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_yaml(self, runbook: str) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": _text(self.expr),
            **({"for": duration(self.for_seconds)} if self.for_seconds else {}),
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": " ".join(self.description.split()),
                "runbook_url": f"{runbook}#{self.name.lower()}",
            },
        }


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rules that are looked at one after the other, so that an alert reads what was recorded just before it."""

    name: str
    rules: Sequence[Recording | Alert]
    interval_seconds: int = EVALUATION_SECONDS

    def as_yaml(self, factor: float, runbook: str) -> dict[str, Any]:
        """Return the group as Prometheus reads it; never looked at more often than once a second."""
        interval = duration(max(1.0, self.interval_seconds * factor))
        return {"name": self.name, "interval": interval, "rules": [rule.as_yaml(runbook) for rule in self.rules]}


def metrics_in(expr: str) -> set[str]:
    """Return the names of our metrics (not of recordings) in an expression."""
    return set(re.findall(r"(?<![\w:])(?:nomad_[a-z_]+|up)(?=[{\[ )]|$)", expr))


def recordings_in(expr: str) -> set[str]:
    """Return the names of recordings in an expression."""
    return set(re.findall(r"\w+:nomad_\w+:\w+", expr))


def _text(expr: str) -> str:
    return textwrap.dedent(expr).strip()
