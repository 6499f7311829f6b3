"""Every panel and variable finds data in a real Prometheus that scrapes the real processes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping

import pytest
import yaml

from .conftest import QUERIES, VARIABLES, Query
from .prometheus import Prometheus, recordings
from .promql import selectors, with_variables
from .system import System

pytestmark = pytest.mark.slow

DATA_SECONDS = 40
#: Series that Prometheus itself adds, for each target and its rules.
OF_PROMETHEUS: Mapping[str, set[str]] = {
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate"},
    "prometheus_rule_group_rules": {"rule_group", "job", "instance"},
}


@pytest.fixture(scope="module")
def exported(system: System) -> dict[str, set[str]]:
    """All series with their labels: those of the services, of Prometheus itself and of its recording rules."""
    return {**system.exported(), **OF_PROMETHEUS, **RECORDED}


def recorded() -> dict[str, set[str]]:
    """Return the recorded series with their labels, queue and perhaps job type, from their names."""
    rules = [
        rule for text in recordings().values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]
    ]
    return {rule["record"]: set(rule["record"].partition(":")[0].split("_")) for rule in rules}


RECORDED = recorded()


def unknown(expression: str, exported: Mapping[str, set[str]]) -> list[str]:
    """Return the metrics and labels of an expression that are not exported."""
    found = []
    for selector in selectors(expression):
        if selector.name not in exported:
            found.append(selector.name)
        else:
            found += [f"{selector.name}{{{label}}}" for label in sorted(selector.labels - exported[selector.name])]
    return found


def without_data(prometheus: Prometheus, queries: Iterable[Query]) -> list[Query]:
    """Return the queries without a number in the result, or with a legend label that the result lacks."""
    return [query for query in queries if not _has_data(prometheus, query)]


def _has_data(prometheus: Prometheus, query: Query) -> bool:
    found = prometheus.ask(with_variables(query.expression))
    sources = {label for series in found for label in series["metric"]}
    # A quantile of no values is NaN.
    numbers = [series for series in found if series["value"][1] != "NaN"]
    return bool(numbers) and set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= sources


def test_every_metric_and_label_in_a_query_is_exported(exported: dict[str, set[str]]) -> None:
    asked = [(query.where, query.expression) for query in QUERIES] + [(each.where, each.series) for each in VARIABLES]
    wrong = {where: unknown(expression, exported) for where, expression in asked}
    assert {where: found for where, found in wrong.items() if found} == {}
    assert [each.where for each in VARIABLES if each.label not in exported[selectors(each.series)[0].name]] == []


def test_a_misspelt_metric_or_label_is_found(exported: dict[str, set[str]]) -> None:
    assert unknown('sum(rate(nomad_job_attempt_total{queue=~"$queue"}[5m]))', exported) == ["nomad_job_attempt_total"]
    assert unknown('max(nomad_queue_jobs{queu="a"})', exported) == ["nomad_queue_jobs{queu}"]


def test_every_panels_query_finds_data(system: System, prometheus: Prometheus) -> None:
    left, deadline = list(QUERIES), time.monotonic() + DATA_SECONDS
    while left and time.monotonic() < deadline:
        system.work()
        left = without_data(prometheus, left)
        time.sleep(0.1)
    assert [f"{query.where}: {query.expression}" for query in left] == []


def test_every_variable_has_values(prometheus: Prometheus) -> None:
    values = {each.where: prometheus.values(with_variables(each.series), each.label) for each in VARIABLES}
    assert {"cache-cleanup", "esi-refresh", "held", "historical-data", "mixed", "token-refresh"} == set(
        values["nomad-overview: $queue"]
    )
    assert values["nomad-queue: $job"] == ["admin", "scheduler", "workers"]
    assert "cache-cleanup" in values["nomad-queue: $actor"]
    assert "cache-cleanup" in values["nomad-schedules: $schedule"]


def test_a_misspelt_query_is_found_empty(prometheus: Prometheus) -> None:
    right = next(query for query in QUERIES if query.where == "nomad-overview: Waiting, by queue")
    assert without_data(prometheus, [right]) == []
    for wrong in ("nomad_queue_job{", 'state="waitin"'):
        misspelt = right.expression.replace("nomad_queue_jobs{" if "{" in wrong else 'state="waiting"', wrong)
        query = Query(right.where, misspelt, right.legend, right.panel)
        assert misspelt != right.expression
        assert without_data(prometheus, [query]) == [query]
    legend = Query(right.where, right.expression, "{{actor}}", right.panel)
    assert without_data(prometheus, [legend]) == [legend]


def test_a_redis_that_is_away_shows_nothing_instead_of_zeros(
    system: System, prometheus: Prometheus, wait_until: Callable[..., None]
) -> None:
    def is_readable() -> bool:
        return bool(prometheus.ask('nomad_collector_success{source="redis"} == 1'))

    wait_until(is_readable, what="Prometheus shows that Redis can be read")
    of_redis = ("nomad_queue_", "nomad_schedule_", "nomad_schedulers", "nomad_redis_")
    # Only instant values: a rate still contains the minutes before.
    now = [
        query
        for query in QUERIES
        if all(each.name.startswith(of_redis) for each in selectors(query.expression)) and "[" not in query.expression
    ]
    assert len(now) > 20
    assert without_data(prometheus, now) == []
    system.redis.stop()
    try:
        wait_until(
            lambda: prometheus.ask('nomad_collector_success{source="redis"} == 0'),
            timeout_seconds=20,
            what="the collector reports that it cannot read Redis",
        )
        assert {query.where for query in now} - {query.where for query in without_data(prometheus, now)} == set()
        (failing,) = [q for q in QUERIES if q.where == "nomad-overview: Collector"]
        sources = {
            each["metric"]["source"]: each["value"][1] for each in prometheus.ask(with_variables(failing.expression))
        }
        assert sources == {"redis": "0", "database": "1"}
    finally:
        system.start_redis()
    wait_until(is_readable, timeout_seconds=20, what="the collector reads Redis again")
