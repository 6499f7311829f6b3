"""What Redis holds is read when a scrape asks, and never reported as zero when it cannot be read."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter

from nomad_actors.errors import Unavailable
from nomad_actors.metrics.collector import (
    Numbers,
    QueueCollector,
    QueueNumbers,
    ScheduleNumbers,
    with_queues,
)
from nomad_actors.metrics.exposition import render

COUNTS = {
    "waiting": 3,
    "active": 1,
    "delayed": 0,
    "completed": 7,
    "failed": 2,
    "paused": 0,
}

SCHEDULES = {
    "daily": ScheduleNumbers(True, 1_790_000_000, 1_790_086_400.5),
    "off": ScheduleNumbers(False, None, None),
}


class _Read:
    def __init__(self):
        self.calls = 0
        self.answer = Numbers({"esi-refresh": QueueNumbers(COUNTS, 4)}, SCHEDULES)

    def __call__(self):
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def read():
    return _Read()


def test_registering_reads_nothing(read):
    CollectorRegistry(auto_describe=True).register(QueueCollector(read))
    assert read.calls == 0


def test_every_state_of_every_queue_is_exported(read):
    registry = CollectorRegistry()
    registry.register(QueueCollector(read))
    for state, count in COUNTS.items():
        assert registry.get_sample_value("nomad_queue_jobs", {"queue": "esi-refresh", "state": state}) == count
    assert registry.get_sample_value("nomad_queue_recovered_total", {"queue": "esi-refresh"}) == 4
    assert registry.get_sample_value("nomad_collector_success") == 1


def test_every_schedule_is_exported_and_what_there_is_not_is_missing(read):
    registry = CollectorRegistry()
    registry.register(QueueCollector(read))

    def value(name, schedule):
        return registry.get_sample_value(f"nomad_schedule_{name}", {"schedule": schedule})

    assert (value("enabled", "daily"), value("enabled", "off")) == (1, 0)
    assert value("last_success_timestamp_seconds", "daily") == 1_790_000_000
    assert value("start_due_timestamp_seconds", "daily") == 1_790_086_400.5
    assert value("last_success_timestamp_seconds", "off") is None
    assert value("start_due_timestamp_seconds", "off") is None


def test_each_scrape_reads_anew_and_forgets_what_is_gone(read):
    registry = CollectorRegistry()
    registry.register(QueueCollector(read))
    render(registry, "")
    read.answer = Numbers({"other": QueueNumbers({"waiting": 1}, 0)}, {})
    body, _ = render(registry, "")
    assert b'queue="other"' in body
    assert b"esi-refresh" not in body
    assert read.calls == 2


@pytest.mark.parametrize("error", [Unavailable("Redis is away"), RuntimeError("a fault of ours")])
def test_a_failed_reading_is_told_instead_of_zeros_and_the_rest_stays(read, error, caplog):
    base = CollectorRegistry()
    Counter("good_total", "Good.", registry=base).inc()
    read.answer = error
    body, _ = render(with_queues(read, base=base), "")
    assert b"nomad_collector_success 0.0" in body
    assert b"nomad_queue_jobs{" not in body
    assert b"good_total 1.0" in body
    assert "could not be read" in caplog.text


def test_the_admins_registry_shows_both(read):
    body, _ = render(with_queues(read), "")
    assert b"nomad_queue_jobs{" in body
    assert b"nomad_build_info{" in body
