"""Recording rules, alerts and groups, and their YAML for Prometheus."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .promql import duration

#: How often rules are evaluated; rules over hours need it less often, and cost more.
EVALUATION_SECONDS = 15
LONG_EVALUATION_SECONDS = 60

#: A person must act now; or within the working day.
CRITICAL, WARNING = "critical", "warning"

#: The default base of every `runbook_url`: the runbook's path in the repository.
RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """An expression whose result is stored as a new series, named `level:metric:operation`."""

    name: str
    expr: str

    def as_yaml(self, runbook: str) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {"record": self.name, "expr": _text(self.expr)}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert: `summary` says what is wrong, `description` where, and what to do first."""

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
    """Rules that are evaluated in order, so that an alert reads the recordings before it."""

    name: str
    rules: Sequence[Recording | Alert]
    interval_seconds: int = EVALUATION_SECONDS

    def as_yaml(self, factor: float, runbook: str) -> dict[str, Any]:
        """Return the group as Prometheus reads it, with an interval of at least a second."""
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
