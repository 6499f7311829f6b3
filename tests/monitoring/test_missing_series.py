"""Each series of a critical alert raises an alert if it alone is missing, except for a cause that has its own alert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from nomad_actors.jobs import JOB_TYPES

from .test_promtool import promtool
from .test_rules import ROOT

QUEUES = tuple({job_type.queue for job_type in JOB_TYPES})
SCHEDULES = tuple(schedule.name for job_type in JOB_TYPES for schedule in job_type.job_schedules())
#: The required series, by metric and the label that distinguishes them.
WATCHED: dict[str, tuple[str, tuple[str, ...]]] = {
    "nomad_job_attempts_total": ("queue", QUEUES),
    "nomad_collector_success": ("source", ("redis", "database")),
    "nomad_queue_jobs": ("queue", QUEUES),
    "nomad_queue_oldest_waiting_seconds": ("queue", QUEUES),
    "nomad_queue_paused": ("queue", QUEUES),
    "nomad_queue_workers": ("queue", QUEUES),
    "nomad_schedule_enabled": ("schedule", SCHEDULES),
    "nomad_esi_brake_seconds": ("kind", ("refused",)),
    "nomad_schedulers": ("state", ("live",)),
    "nomad_redis_memory_bytes": ("", ("",)),
    "nomad_redis_memory_limit_bytes": ("", ("",)),
    "nomad_redis_persistence_ok": ("", ("",)),
    "nomad_scheduler_holds": ("job", ("scheduler",)),
}
ALL = {(metric, label, value) for metric, (label, values) in WATCHED.items() for value in values}
#: A second instance of each service that does not answer: one that answers is enough.
UP = [f'up{{job="{job}",instance="{job}"}}' for job in ("workers", "scheduler", "admin")]
DOWN = [series.replace('",instance="', '",instance="gone-') for series in UP]


def series_of(metric: str, label: str, value: str) -> str:
    """Return a series as a service exports it."""
    labels = {label: value} if label else {}
    return metric + selector(labels)


def selector(labels: Mapping[str, str]) -> str:
    """Return labels in PromQL's form."""
    pairs = [f'{name}="{text}"' for name, text in labels.items()]
    return f"{{{','.join(pairs)}}}"


def case(name: str, there: Iterable[tuple[str, str, str]], missed: list[dict[str, str]], up: list[str]) -> Any:
    """Return a promtool test: the existing series, and the alerts about missing ones 10 minutes later."""
    values = {series_of(*each): "1x50" for each in there}
    # A second admin cannot read Redis: one that can is enough.
    values |= dict.fromkeys(up, "1x50") | dict.fromkeys(DOWN if up else [], "0x50")
    if up and 'nomad_collector_success{source="redis"}' in values:
        values['nomad_collector_success{source="redis",instance="gone-admin"}'] = "0x50"
    return {
        "name": name,
        "interval": "15s",
        "input_series": [{"series": series, "values": text} for series, text in values.items()],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}',
                "eval_time": "11m",
                "exp_samples": [{"labels": f"ALERTS{selector(labels)}", "value": 1} for labels in missed],
            }
        ],
    }


def missed(metric: str, label: str, value: str) -> dict[str, str]:
    """Return the labels of the alert about a series."""
    own = {label: value} if label else {}
    if metric == "nomad_scheduler_holds":
        own["job"] = "scheduler"
    severity = "warning" if metric.startswith("nomad_redis_") else "critical"
    return {"alertname": "NomadMetricMissing", "alertstate": "firing", "metric": metric, "severity": severity, **own}


def cases() -> list[Any]:
    """Return a test for each series, and tests in which the cause has another alert."""
    found = [case(f"without {series_of(*each)}", ALL - {each}, [missed(*each)], UP) for each in sorted(ALL)]
    return [*found, case("no target at all, as where targets are found by name", [], [], [])]


def test_each_missing_series_raises_an_alert(tmp_path: Path) -> None:
    path = tmp_path / "missing_series.yml"
    rules = str(ROOT / "grafana" / "alerts" / "missing.yml")
    path.write_text(yaml.safe_dump({"rule_files": [rules], "evaluation_interval": "15s", "tests": cases()}))
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr
