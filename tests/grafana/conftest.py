"""The dashboards as data, and the whole system with a Prometheus that scrapes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import program

from .prometheus import Prometheus
from .system import System

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "grafana" / "dashboards"
DASHBOARDS = [json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))]


@dataclass(frozen=True)
class Query:
    """One query of a panel and its legend."""

    #: Dashboard and title of the panel.
    where: str
    expression: str
    legend: str
    panel: dict[str, Any]


@dataclass(frozen=True)
class Variable:
    """A variable whose values are those of a label."""

    where: str
    series: str
    label: str


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels without the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


QUERIES = [
    Query(f"{dashboard['uid']}: {panel['title']}", target["expr"], target["legendFormat"], panel)
    for dashboard in DASHBOARDS
    for panel in panels_of(dashboard)
    for target in panel["targets"]
]


def _variables() -> Iterator[Variable]:
    for dashboard in DASHBOARDS:
        for each in dashboard["templating"]["list"]:
            if each["type"] == "query":
                series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"]["query"]).groups()
                yield Variable(f"{dashboard['uid']}: ${each['name']}", series, label)


VARIABLES = list(_variables())


@pytest.fixture(params=DASHBOARDS, ids=lambda dashboard: dashboard["uid"])
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each dashboard in turn."""
    return request.param


@pytest.fixture
def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels without the rows."""
    return panels_of(dashboard)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Workers, scheduler and admin as processes; some jobs of each outcome have ended."""
    with System(tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest.fixture(scope="module")
def prometheus(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the system once a second."""
    directory = tmp_path_factory.mktemp("prometheus")
    with Prometheus(program("prometheus"), directory, system.ports) as prometheus:
        yield prometheus
