"""Redis and the database are read at each scrape, and never reported as zero if they cannot be read."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from nomad_actors.broker.client.queue_facts import KnownWorker, QueueCounts, QueueFacts, RunningJob
from nomad_actors.broker.client.server import ServerFacts
from nomad_actors.broker.client.slots import StoredSchedule
from nomad_actors.errors import Unavailable
from nomad_actors.health.queue_families import queue_families
from nomad_actors.health.scrape import database_families, schedule_families, server_families
from nomad_actors.metrics.exposition import ScrapeCollector, joined, render
from nomad_actors.queues.snapshot import QueueSnapshot
from nomad_actors.scheduler import JobSchedule
from nomad_actors.scheduler.changes import ScheduleState
from nomad_actors.scheduler.status import SchedulerSnapshot, ScheduleSnapshot

ATTEMPTS = {("esi-data-refresh", "failed"): 7, ("unknown", "failed"): 0}
COUNTS = {"waiting": 3, "active": 1, "delayed": 0, "completed": 7, "failed": 2, "paused": 0}
NOW_MS = 1_790_000_000_000.0
#: When a daily schedule is due.
MIDNIGHT_MS = 1_793_491_200_000
FACTS = QueueFacts(
    counts=QueueCounts(NOW_MS, 3, 1, 0, 7, 2, 0, recovered=4, poison=1),
    redis_ms=NOW_MS,
    next_due_ms=None,
    oldest_start_ms=None,
    waiting_ms={5: 12_500.0},
    running=(RunningJob("an id", "a-host:1", NOW_MS - 3_250),),
    known_workers=(KnownWorker(b"1", "a-host:1", NOW_MS), KnownWorker(b"2", "a-host:2", NOW_MS - 1_000)),
    stats=(),
)


def families_of(name: str) -> Iterable[Metric]:
    queue = QueueSnapshot(name=name, concurrency=1, job_types=(), job_names=(), state=FACTS)
    return queue_families([queue], {}, {name: ATTEMPTS})


def schedule_snapshot(name: str, *, enabled: bool, last_success_ms: int | None, missed: int) -> ScheduleSnapshot:
    stored = StoredSchedule("cache-cleanup", name, 1, enabled, MIDNIGHT_MS, None, {}, missed=missed)
    schedule = JobSchedule(
        name=name,
        description="",
        expression="0 0 * * *",
        queue=stored.queue,
        job_type="clean-caches",
        data={},
        enabled=enabled,
    )
    state = ScheduleState(schedule, stored, declared=False, overridden=())
    return ScheduleSnapshot(state, [], last_success_ms, {}, paused=False)


def registry_of(families: Iterable[Metric]) -> CollectorRegistry:
    found = list(families)
    return joined(ScrapeCollector({"redis": lambda: found}))


class _Source:
    def __init__(self) -> None:
        self.calls = 0
        self.queue = "esi-refresh"
        self.error: Exception | None = None

    def __call__(self) -> Iterable[Metric]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return families_of(self.queue)


@pytest.fixture
def source() -> _Source:
    return _Source()


def test_registration_reads_no_source(source: _Source) -> None:
    CollectorRegistry(auto_describe=True).register(ScrapeCollector({"redis": source}))
    assert source.calls == 0


def test_all_metrics_of_a_queue_are_exported() -> None:
    value = registry_of(families_of("esi-refresh")).get_sample_value
    queue = {"queue": "esi-refresh"}
    for state, count in COUNTS.items():
        assert value("nomad_queue_jobs", {**queue, "state": state}) == count
    assert value("nomad_queue_oldest_waiting_seconds", {**queue, "priority": "BATCH"}) == 12.5
    assert value("nomad_queue_oldest_waiting_seconds", {**queue, "priority": "CRITICAL"}) == 0
    assert value("nomad_queue_longest_active_seconds", queue) == 3.25
    assert value("nomad_queue_overtime_seconds", queue) == 0
    assert value("nomad_queue_workers", queue) == 2
    assert value("nomad_queue_recovered_total", queue) == 4
    assert value("nomad_queue_poison_total", queue) == 1
    assert value("nomad_job_attempts_total", {**queue, "actor": "esi-data-refresh", "outcome": "failed"}) == 7
    assert value("nomad_job_attempts_total", {**queue, "actor": "unknown", "outcome": "failed"}) == 0
    assert value("nomad_queue_paused", queue) == 0
    assert value("nomad_queue_paused_since_timestamp_seconds", queue) is None


def test_a_schedule_is_exported_without_unknown_values() -> None:
    on = schedule_snapshot("daily", enabled=True, last_success_ms=MIDNIGHT_MS, missed=2)
    off = schedule_snapshot("off", enabled=False, last_success_ms=None, missed=0)
    registry = registry_of(schedule_families(SchedulerSnapshot([off, on], [], 0)))

    def value(name: str, schedule: str) -> float | None:
        return registry.get_sample_value(f"nomad_schedule_{name}", {"schedule": schedule})

    assert (value("enabled", "daily"), value("enabled", "off")) == (1, 0)
    assert value("last_success_timestamp_seconds", "daily") == MIDNIGHT_MS / 1000
    assert value("start_due_timestamp_seconds", "daily") == MIDNIGHT_MS / 1000 + 86_400
    assert value("success_due_timestamp_seconds", "daily") == MIDNIGHT_MS / 1000 + 2 * 86_400
    assert value("success_due_timestamp_seconds", "off") is None
    assert value("last_success_timestamp_seconds", "off") is None
    assert value("start_due_timestamp_seconds", "off") is None


def test_values_that_a_managed_redis_does_not_report_are_missing() -> None:
    silent = registry_of(server_families(ServerFacts(0, 0)))
    names = ("nomad_redis_memory_bytes", "nomad_redis_memory_limit_bytes", "nomad_redis_persistence_ok")
    assert [silent.get_sample_value(name) for name in names] == [None, None, None]
    facts = ServerFacts(0, 0, used_memory_bytes=9, max_memory_bytes=0, append_only=True, append_ok=False)
    registry = registry_of(server_families(facts))
    assert [registry.get_sample_value(name) for name in names] == [9, 0, 0]


def test_each_scrape_reads_again_and_drops_removed_series(source: _Source) -> None:
    registry = joined(ScrapeCollector({"redis": source}))
    render(registry, "")
    source.queue = "other"
    body, _ = render(registry, "")
    assert b'queue="other"' in body
    assert b"esi-refresh" not in body
    assert source.calls == 2


@pytest.mark.parametrize("error", [Unavailable("Redis is away"), RuntimeError("a bug of ours")])
def test_a_failed_source_is_reported_instead_of_zeros_and_the_others_stay(
    source: _Source, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    base = CollectorRegistry()
    Counter("good_total", "Good.", registry=base).inc()
    source.error = error
    registry = joined(
        base, ScrapeCollector({"redis": source, "database": lambda: database_families({"active": 2}, {}, 0)})
    )
    body = render(registry, "")[0].decode()
    assert 'nomad_collector_success{source="redis"} 0.0' in body
    assert 'nomad_collector_success{source="database"} 1.0' in body
    assert 'nomad_characters{status="active"} 2.0' in body
    assert "nomad_queue_" not in body
    assert "good_total 1.0" in body
    assert "a source cannot be read for a scrape" in caplog.text


def test_a_source_that_fails_half_way_exports_nothing() -> None:
    def half() -> Iterable[Metric]:
        yield GaugeMetricFamily("nomad_half", "Half.", value=1)
        raise Unavailable("Redis is away")

    registry = joined(ScrapeCollector({"redis": half}))
    assert registry.get_sample_value("nomad_half") is None
    assert registry.get_sample_value("nomad_collector_success", {"source": "redis"}) == 0


def test_no_metric_is_exported_twice(source: _Source) -> None:
    registry = joined(ScrapeCollector({"redis": source, "database": lambda: database_families({}, {}, 0)}))
    body, _ = render(registry, "application/openmetrics-text")
    names = [family.name for family in text_string_to_metric_families(body.decode())]
    assert len(names) == len(set(names))


def test_an_error_without_text_does_not_fail_the_scrape() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit

    def source() -> Iterable[Metric]:
        raise Mute

    value = joined(ScrapeCollector({"redis": source})).get_sample_value
    assert value("nomad_collector_success", {"source": "redis"}) == 0
