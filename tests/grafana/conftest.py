"""The dashboard as data, and work that moves every metric it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nomad_actors.metrics import definitions
from nomad_actors.metrics.collector import Numbers, QueueNumbers, ScheduleNumbers

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "grafana" / "dashboards" / "nomad.json"

#: What the queues hold, for the collector.
_JOBS = dict.fromkeys(("waiting", "active", "delayed", "completed", "failed", "paused"), 1)
COUNTS = Numbers(
    {"esi-refresh": QueueNumbers(_JOBS, 1)}, {"cache-cleanup": ScheduleNumbers(True, 1_790_000_000, 1_790_086_400)}
)

#: What Grafana puts in place of its variables: an interval, or everything.
_INTERVALS = {"__rate_interval": "5s", "__interval": "1s", "__range": "1m"}
_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")


def filled_in(expression: str) -> str:
    """Return an expression as Prometheus gets it, every variable matching everything."""
    return _VARIABLE.sub(lambda match: _INTERVALS.get(match[1], ".+"), expression)


def do_some_work() -> None:
    """Move every metric that a worker moves."""
    definitions.declare_esi_group("CHARACTER_WALLET")
    labels = "esi-refresh", "esi-data-refresh"
    definitions.JOBS_ENQUEUED.labels(*labels).inc()
    for outcome in definitions.OUTCOMES:
        definitions.JOB_ATTEMPTS.labels(*labels, outcome).inc()
    definitions.JOB_DURATION_SECONDS.labels(*labels).observe(0.2)
    definitions.JOB_WAIT_SECONDS.labels(*labels).observe(0.005)
    definitions.ESI_REQUESTS.labels("CHARACTER_WALLET", "200").inc()
    definitions.ESI_REQUEST_SECONDS.labels("CHARACTER_WALLET").observe(0.1)
    definitions.TOKEN_REFRESHES.labels("refreshed").inc()


@pytest.fixture(scope="session")
def dashboard() -> dict[str, Any]:
    """The dashboard."""
    return json.loads(DASHBOARD.read_text())


@pytest.fixture(scope="session")
def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that show something, without the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="session")
def expressions(panels: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Each query with its panel's title."""
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
