"""The limits in panels come from the thresholds that the alerts and health use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from monitoring.files import dashboards
from nomad_actors.thresholds import ALERTS, BY_QUEUE, DEFAULT, DOCTOR, ESI, SCHEDULES, Table, table

from .conftest import panels_of

#: The source of each panel's limits. Colours of yes/no values and of "any at all" need no threshold.
PANEL_LIMITS: Mapping[str, list[float]] = {
    "nomad-overview: Failed in 1 h, worst queue": [DEFAULT.failure_percent / 100],
    "nomad-overview: Redis memory, of its limit": [
        DOCTOR.memory_warning_percent / 100,
        DOCTOR.memory_problem_percent / 100,
    ],
    "nomad-overview: Redis memory over time, of its limit": [
        DOCTOR.memory_warning_percent / 100,
        DOCTOR.memory_problem_percent / 100,
    ],
    "nomad-overview: Waiting, by queue": [DEFAULT.waiting_jobs],
    "nomad-overview: Oldest waiting, by queue": [DEFAULT.oldest_waiting_seconds],
    "nomad-overview: Time to drain, by queue": [BY_QUEUE["historical-data"].drain_seconds],
    "nomad-overview: Brakes in force, by kind": [ESI.brake_seconds],
    "nomad-queue: Error budget burn": [burn.factor for burn in ALERTS.burns],
    "nomad-queue: Paused for": [ALERTS.paused_seconds],
    "nomad-queue: Jobs, by state": [DEFAULT.waiting_jobs],
    "nomad-queue: Oldest waiting, by priority": [DEFAULT.oldest_waiting_seconds],
    "nomad-queue: Overtime": [DEFAULT.beyond_time_limit_seconds],
    "nomad-queue: Failed share, 1 h": [DEFAULT.failure_percent / 100],
    "nomad-schedules: Clock difference": [DOCTOR.clock_warning_seconds, DOCTOR.clock_problem_seconds],
    "nomad-schedules: Every schedule": [ALERTS.success_grace_seconds, ALERTS.late_start_seconds],
    "nomad-schedules: Overdue, by schedule": [ALERTS.late_start_seconds],
    "nomad-schedules: Success overdue, by schedule": [ALERTS.success_grace_seconds],
    "nomad-schedules: Since a scheduler's last check": [SCHEDULES.silent_seconds],
    "nomad-schedules: Redis' clock": [DOCTOR.clock_problem_seconds],
    "nomad-schedules: Clock offset": [DOCTOR.clock_warning_seconds, DOCTOR.clock_problem_seconds],
}


def steps(thresholds: Mapping[str, Any]) -> list[float]:
    """Return the values at which a colour begins, empty for just 1: any at all, or the whole share."""
    values = [step["value"] for step in thresholds["steps"] if step["value"] is not None]
    return [] if values == [1] and isinstance(values[0], int) else values


def panel_limits(limits: Table) -> dict[str, list[float]]:
    """Return the limits of panels by dashboard and title."""
    found: dict[str, list[float]] = {}
    for dashboard in dashboards(limits):
        for panel in panels_of(dashboard):
            field = panel["fieldConfig"]
            every = [field["defaults"]["thresholds"]]
            every += [p["value"] for o in field["overrides"] for p in o["properties"] if p["id"] == "thresholds"]
            values = [value for thresholds in every for value in steps(thresholds)]
            if values:
                found[f"{dashboard['uid']}: {panel['title']}"] = values
    return found


def scaled(value: Any) -> Any:
    """Return a table with every number times three."""
    if isinstance(value, tuple):
        return tuple(scaled(each) for each in value)
    if isinstance(value, Mapping):
        return MappingProxyType({key: scaled(each) for key, each in value.items()})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: scaled(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value * 3 if isinstance(value, int | float) and not isinstance(value, bool) else value


def test_each_panel_uses_its_threshold():
    assert panel_limits(table()) == PANEL_LIMITS


def test_no_limit_is_hard_coded():
    # If every threshold is three times as large, every limit must be too.
    before, after = panel_limits(table()), panel_limits(scaled(table()))
    assert len(before) == len(after)
    for values, threefold in zip(before.values(), after.values(), strict=True):
        assert threefold == pytest.approx([3 * value for value in values])


def test_the_limits_in_queries_are_the_thresholds():
    def expressions(limits: Table) -> dict[str, str]:
        return {panel["title"]: panel["targets"][-1]["expr"] for d in dashboards(limits) for panel in panels_of(d)}

    now, threefold = expressions(table()), expressions(scaled(table()))
    promised = 'max by (queue) (nomad_queue_oldest_waiting_seconds{queue=~"$queue", queue'
    assert now["Oldest waiting, of its promise"] == (
        f'max(({promised}="historical-data"}}) / 86400 or {promised}!~"historical-data"}}) / 3600)'
        ' unless on (queue) max by (queue) (nomad_queue_paused{queue=~"$queue"}) == 1)'
    )
    assert "/ 259200 or" in threefold["Oldest waiting, of its promise"]
    assert now["Failed in 1 h, worst queue"].endswith("[1h]))) > 19.5))")
    assert threefold["Failed in 3 h, worst queue"].endswith("[3h]))) > 59.5))")
    assert now["Schedules overdue"].endswith("> bool 600)")
    assert threefold["Schedules that are overdue"].endswith("> bool 1800)")
    assert now["Mean duration, 15 min, and its normal"] == (
        'clamp_min(2 * queue_actor:nomad_job_duration_seconds:mean7d{queue=~"$queue", actor=~"$actor"}, 1)'
    )
    assert threefold["Mean duration, 45 min, and its normal"].startswith("clamp_min(6 * queue_actor:")
    assert threefold["Mean duration, 3 d, and its normal"].endswith("}, 3)")


def test_only_thresholds_that_panels_show_by_queue_differ_by_queue():
    # Panels draw one line for these: it would be wrong for a queue with another threshold.
    common = ("failure_window_seconds", "failure_percent", "failure_least_ended", "beyond_time_limit_seconds")
    for queue in BY_QUEUE.values():
        assert [getattr(queue, name) for name in common] == [getattr(DEFAULT, name) for name in common]
        assert queue.waiting_jobs in (None, DEFAULT.waiting_jobs)
