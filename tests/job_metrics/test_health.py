"""The health that the admin reports: each problem with its remedy."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from nomad_actors import job_metrics, thresholds
from nomad_actors.broker import JobBroker
from nomad_actors.clock import SystemClock
from nomad_actors.errors import Unavailable
from nomad_actors.queues import Queues
from nomad_actors.scheduler import Schedule, Schedules
from nomad_actors.settings import Settings
from nomad_actors.testing import running
from nomad_actors.thresholds import Thresholds
from tests.support import full_disk

from .errands import add, beat_scheduler, gate, job_type


def test_served_queues_without_problems_are_healthy(queues: Queues, broker: JobBroker) -> None:
    with running(broker):
        health = healthy_once_served(queues)
    assert health == {
        "healthy": True,
        "queues": {"total": 2, "healthy": 2, "unhealthy": 0, "issues": []},
        "scheduledJobs": {"total": 0, "running": 0, "stopped": 0, "issues": []},
        "workers": {"total": 2, "active": 2, "issues": []},
        "redis": {"issues": []},
        "database": {"issues": []},
        "esi": {"issues": []},
        "host": {"issues": []},
    }


def test_a_queue_without_a_worker_is_unhealthy(queues: Queues) -> None:
    health = job_metrics.get_job_system_health(queues=queues)
    assert health["healthy"] is False
    assert (health["workers"]["total"], health["workers"]["active"]) == (2, 0)
    assert health["workers"]["issues"] == [
        "workers: no live worker serves any of the 2 queues (0 waiting, 0 active, 0 delayed); nomad run workers"
    ]


def test_over_ten_percent_failed_is_unhealthy_from_twenty_ended_jobs_on(queues: Queues, broker: JobBroker) -> None:
    add(queues, 16)
    add(queues, 3, fail=True)
    with running(broker):
        broker.join("fetching", timeout=5000)
        assert healthy_once_served(queues)["healthy"] is True
        add(queues, 1)
        broker.join("fetching", timeout=5000)
        health = job_metrics.get_job_system_health(queues=queues)
    assert (health["healthy"], health["queues"]["unhealthy"]) == (False, 1)
    assert "fetching: 3 of 20 jobs failed in the last 60 minutes (15.0 %" in health["queues"]["issues"][0]


def test_exactly_ten_percent_failed_is_healthy(queues: Queues, broker: JobBroker) -> None:
    add(queues, 18)
    add(queues, 2, fail=True)
    with running(broker):
        broker.join("fetching", timeout=5000)
        assert healthy_once_served(queues)["healthy"] is True


def test_over_a_thousand_waiting_is_unhealthy_unless_the_queue_is_filled_in_bulk(queues: Queues) -> None:
    queues.register(job_type("historical-data", "historical-data"))
    add(queues, 1000)
    add(queues, 1001, queue="historical-data")
    assert queue_issues(queues) == []
    add(queues, 1)
    (issue,) = queue_issues(queues)
    assert issue.startswith("fetching: 1001 jobs waiting, more than 1000; nomad jobs fetching --status active;")


def test_a_queue_that_is_filled_in_bulk_is_judged_by_how_long_it_takes_to_drain(
    queues: Queues, broker: JobBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limits(**least: int) -> None:
        bulk = Thresholds(waiting_jobs=None, drain_seconds=7200, **least)
        monkeypatch.setattr(thresholds, "BY_QUEUE", {"fetching": bulk})

    limits(drain_least_age_seconds=0)
    add(queues, 1)
    with running(broker):
        broker.join("fetching", timeout=5000)
    add(queues, 2)
    assert queue_issues(queues) == []
    add(queues, 1)
    (issue,) = queue_issues(queues)
    assert issue.startswith("fetching: at the rate of the last hour its 3 waiting jobs take 3 h 0 min, more than 2 h")
    # Filled a moment ago: the hour that the pace is taken over was idle.
    limits()
    assert queue_issues(queues) == []


def test_a_job_that_waits_too_long_is_an_issue(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "BY_QUEUE", {"fetching": Thresholds(oldest_waiting_seconds=0)})
    add(queues, 1)
    add(queues, 1, queue="cleaning")
    time.sleep(0.005)  # a whole millisecond must pass
    (issue,) = queue_issues(queues)
    assert issue.startswith("fetching: its oldest job has waited for 0 s, more than 0 s")


def test_a_job_beyond_its_time_limit_is_an_issue_and_its_neighbour_is_not(
    broker: JobBroker, queues: Queues, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(thresholds, "DEFAULT", Thresholds(beyond_time_limit_seconds=0))
    queues.register(job_type("brief", "mixed", time_limit_ms=20))
    queues.register(job_type("lengthy", "mixed", time_limit_ms=60_000))
    with running(broker):
        brief = queues.add_job("mixed", "brief", {"wait": True})
        queues.add_job("mixed", "lengthy", {"wait": True})
        wait_until(lambda: len(job_metrics.get_active_jobs(queues=queues)) == 2)
        wait_until(lambda: queue_issues(queues))
        (issue,) = queue_issues(queues)
        gate.set()
    assert issue.startswith(f"mixed: job {brief.id} (brief) has run")


def test_a_paused_queue_is_an_issue_but_healthy(queues: Queues, broker: JobBroker) -> None:
    queues.get_queue("fetching").pause()
    add(queues, 1001)
    with running(broker):
        health = healthy_once_served(queues)
    assert health["healthy"] is True
    (issue,) = health["queues"]["issues"]
    assert issue.startswith("fetching: paused since 20")
    assert issue.endswith(" UTC, until it is resumed (1001 waiting, 0 active, 0 delayed); nomad resume fetching")


def test_a_schedule_whose_last_job_failed_is_unhealthy_while_it_is_on(queues: Queues, broker: JobBroker) -> None:
    def issues() -> list[str]:
        found: list[str] = job_metrics.get_job_system_health(queues=queues)["scheduledJobs"]["issues"]
        return found

    schedules = Schedules(queues)
    for name, fail in (("nightly", True), ("hourly", False)):
        schedules.schedule_job(name, "@yearly", ("cleaning", {"fail": fail}))
        added = schedules.run_job(name)
        with running(broker):
            broker.join("cleaning", timeout=5000)
        if fail:
            failed = added.id
    with running(broker):
        health = healthy_once_served(queues)
    assert health["healthy"] is False
    assert health["scheduledJobs"]["total"] == 2
    (issue,) = issues()
    assert issue == f"nightly: the last run failed; nomad job {failed}; shows why; to retry it: nomad retry {failed}"
    # A schedule that is off has no problem, nor has one whose failed job was removed or retried.
    schedules.stop_job("nightly")
    assert issues() == []
    schedules.start_job("nightly")
    queues.get_queue("cleaning").retry(failed)
    assert issues() == []
    with running(broker):
        broker.join("cleaning", timeout=5000)
    assert len(issues()) == 1
    queues.get_queue("cleaning").remove(failed)
    assert issues() == []


def test_without_a_live_scheduler_nothing_is_healthy(
    queues: Queues, broker: JobBroker, redis_client: redis.Redis
) -> None:
    redis_client.delete("nomad:schedulers")
    with running(broker):
        health = healthy_once_served(queues)
    assert health["healthy"] is False
    assert health["scheduledJobs"]["issues"] == [
        "schedulers: no scheduler is live: due jobs are not added; nomad run scheduler"
    ]


def test_only_if_all_schedulers_are_suspended_is_it_unhealthy(queues: Queues) -> None:
    beat_scheduler(queues, offset_seconds=-30.0, suspended_reason="this host's clock and Redis' differ by -30.0 s")
    (issue,) = job_metrics.get_job_system_health(queues=queues)["scheduledJobs"]["issues"]
    assert "host:1 is suspended (this host's clock and Redis' differ by -30.0 s): due jobs are not added" in issue
    book = queues.broker.schedules()
    book.beat("host:2", book.redis_ms(), forget_before_ms=0)
    assert job_metrics.get_job_system_health(queues=queues)["scheduledJobs"]["issues"] == []


def test_schedules_of_the_code_that_redis_has_lost_are_unhealthy(queues: Queues) -> None:
    daily = Schedule(name="nightly", expression="@daily")
    queues.register(dataclasses.replace(job_type("cache-cleanup", "cache-cleanup"), schedules=(daily,)))
    (issue,) = job_metrics.get_job_system_health(queues=queues)["scheduledJobs"]["issues"]
    assert issue.startswith("schedules: nightly: not in Redis: it restarted empty")


def test_a_full_or_nearly_full_redis_is_unhealthy(queues: Queues, broker: JobBroker, redis_client: redis.Redis) -> None:
    # So much that the memory of connections is negligible. Redis creates it itself, so its buffers stay small.
    redis_client.setrange("ballast", 20_000_000, b".")
    used = redis_client.info("memory")["used_memory"]
    try:
        with running(broker):
            assert healthy_once_served(queues)["healthy"] is True
            redis_client.config_set("maxmemory", int(used * 1.02))
            nearly = job_metrics.get_job_system_health(queues=queues)
            redis_client.config_set("maxmemory", used // 2)
            full = job_metrics.get_job_system_health(queues=queues)
            with pytest.raises(Unavailable, match=r"it is full, and refuses new data until memory is freed \("):
                add(queues, 1)
    finally:
        redis_client.config_set("maxmemory", 0)
    assert (nearly["healthy"], full["healthy"]) == (False, False)
    assert re.search(r"used \(9\d %\); when full, no job can be added", nearly["redis"]["issues"][0])
    assert full["redis"]["issues"][0] == (
        "Redis: it is full, and refuses new data until memory is freed; nomad clean QUEUE --status completed; "
        "frees memory"
    )
    # A full Redis still accepts heartbeats.
    assert full["workers"]["issues"] == []


def test_a_redis_with_a_full_disk_is_reported_instead_of_missing_workers(tmp_path: Path) -> None:
    server = full_disk.start(tmp_path / "redis")
    broker = JobBroker(url=server.url)
    try:
        queues = Queues(broker, settings=Settings(), clock=SystemClock())
        queues.register(job_type("fetching", "fetching"))
        with full_disk.full(server):
            health = job_metrics.get_job_system_health(queues=queues)
            with pytest.raises(Unavailable, match="it cannot write to its disk, and refuses writes until it can"):
                add(queues, 1)
    finally:
        broker.close()
        server.kill()
    refused, cause = health["redis"]["issues"]
    assert refused.startswith("Redis: it cannot write to its disk, and refuses writes until it can; ")
    assert cause.startswith("redis persistence: the last write to the append-only file failed")
    (issue,) = health["workers"]["issues"]
    assert issue.startswith("fetching: no worker sends heartbeats: Redis accepts no changes")


def queue_issues(queues: Queues) -> list[str]:
    issues: list[str] = job_metrics.get_job_system_health(queues=queues)["queues"]["issues"]
    return issues


def healthy_once_served(queues: Queues) -> dict[str, Any]:
    """Return the health as soon as every queue has a live worker."""
    deadline = time.monotonic() + 5
    while True:
        health = job_metrics.get_job_system_health(queues=queues)
        if health["workers"]["active"] == health["workers"]["total"] or time.monotonic() > deadline:
            return health
        time.sleep(0.005)
