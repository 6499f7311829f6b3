"""The numbers that the admin shows and the health that it reports, on real queues with real endings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nomad_actors import job_metrics, thresholds
from nomad_actors.broker import JobBroker
from nomad_actors.clock import SystemClock
from nomad_actors.errors import BadInput, UnknownQueue
from nomad_actors.job_types import Backoff, JobType, Payload, Result
from nomad_actors.queues import NewJob, Queues
from nomad_actors.settings import Settings
from nomad_actors.testing import running
from nomad_actors.thresholds import Thresholds

NO_SCHEDULES: dict[str, Any] = {"total": 0, "running": 0, "stopped": 0, "jobs": [], "schedulers": [{"live": True}]}


class Work(Payload):
    character_id: int = 1
    fail: bool = False
    wait: bool = False


class Done(Result):
    ok: bool = True


gate = threading.Event()


def work(payload: Work) -> Done:
    if payload.wait:
        gate.wait(10)
    if payload.fail:
        raise ValueError("ESI said no")
    return Done()


def job_type(name: str, queue: str, *, time_limit_ms: int = 60_000) -> JobType:
    return JobType(
        name=name,
        queue=queue,
        payload=Work,
        result=Done,
        run=work,
        attempts=1,
        backoff=Backoff("fixed", 1),
        time_limit_ms=time_limit_ms,
        concurrency=8,
    )


@pytest.fixture
def broker(redis_url: str) -> Iterator[JobBroker]:
    broker = JobBroker(url=redis_url)
    yield broker
    broker.close()


@pytest.fixture
def queues(broker: JobBroker) -> Queues:
    gate.clear()
    queues = Queues(broker, settings=Settings(), clock=SystemClock())
    queues.register(job_type("cleaning", "cleaning"))
    queues.register(job_type("fetching", "fetching"))
    return queues


def add(queues: Queues, count: int, *, queue: str = "fetching", **data: object) -> list[str]:
    jobs = queues.add_jobs([NewJob(queue=queue, job_type=queue, data=data)] * count)
    return [job.id for job in jobs]


def test_without_an_ended_job_rates_and_times_are_null(queues: Queues) -> None:
    add(queues, 3)
    assert job_metrics.get_queue_metrics(queues, "fetching") == {
        "queueName": "fetching",
        "waiting": 3,
        "active": 0,
        "delayed": 0,
        "paused": 0,
        "completed": 0,
        "failed": 0,
        "total": 0,
        "completionRate": None,
        "failureRate": None,
        "avgProcessingTime": None,
        "processingTime": {"p50": None, "p95": None, "p99": None},
        "waitTime": {"p50": None, "p95": None, "p99": None},
        **dict.fromkeys(("skipped", "cancelled", "retried", "deferred", "released", "recovered"), 0),
        "windowSeconds": 86400,
        "kept": {"completed": 0, "failed": 0},
        "isPaused": False,
        "pauses": [],
    }


def test_rates_count_what_ended_even_when_it_is_cleaned_away(queues: Queues, broker: JobBroker) -> None:
    add(queues, 3)
    add(queues, 1, fail=True)
    with running(broker):
        broker.join("fetching", timeout=5000)
    queues.get_queue("fetching").clean(0, "completed")
    metrics = job_metrics.get_queue_metrics(queues, "fetching", 3600)
    assert (metrics["completed"], metrics["failed"], metrics["total"]) == (3, 1, 4)
    assert (metrics["completionRate"], metrics["failureRate"]) == (75.0, 25.0)
    assert metrics["kept"] == {"completed": 0, "failed": 1}
    assert metrics["windowSeconds"] == 3600
    assert 0 <= metrics["avgProcessingTime"] < 1000


def test_a_paused_queues_waiting_jobs_are_counted_as_paused(queues: Queues) -> None:
    add(queues, 2)
    queues.get_queue("fetching").pause()
    metrics = job_metrics.get_queue_metrics(queues, "fetching")
    assert (metrics["waiting"], metrics["paused"], metrics["isPaused"]) == (0, 2, True)


def test_metrics_of_an_unknown_queue_or_window_are_refused(queues: Queues) -> None:
    with pytest.raises(UnknownQueue, match="fetching"):
        job_metrics.get_queue_metrics(queues, "fetch")
    with pytest.raises(BadInput, match="60 to 86400"):
        job_metrics.get_queue_metrics(queues, "fetching", 5)


def test_the_summary_adds_the_queues_up(queues: Queues, broker: JobBroker) -> None:
    add(queues, 1)
    add(queues, 1, queue="cleaning", fail=True)
    with running(broker):
        broker.join("fetching", timeout=5000)
        broker.join("cleaning", timeout=5000)
    add(queues, 2)
    summary = job_metrics.get_job_activity_summary(queues)
    assert [queue["queueName"] for queue in summary.pop("queues")] == ["cleaning", "fetching"]
    assert summary == {
        "totalJobs": 2,
        "activeJobs": 0,
        "completedJobs": 1,
        "failedJobs": 1,
        "waitingJobs": 2,
        "delayedJobs": 0,
        "pausedJobs": 0,
        "overallCompletionRate": 50.0,
        "overallFailureRate": 50.0,
        "windowSeconds": 86400,
    }


def test_failed_jobs_of_all_queues_come_last_failed_first(queues: Queues, broker: JobBroker) -> None:
    (first,) = add(queues, 1, fail=True)
    with running(broker):
        broker.join("fetching", timeout=5000)
        (second,) = add(queues, 1, queue="cleaning", fail=True)
        broker.join("cleaning", timeout=5000)
    failed = job_metrics.get_failed_jobs(queues, 50)
    assert [job["jobId"] for job in failed] == [second, first]
    assert failed[1]["queueName"] == "fetching"
    assert failed[1]["failedReason"] == "ValueError: ESI said no"
    assert failed[1]["attemptsMade"] == 1
    assert [job["jobId"] for job in job_metrics.get_failed_jobs(queues, 1)] == [second]


def test_running_jobs_of_all_queues_come_longest_running_first(
    queues: Queues, broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    with running(broker):
        (first,) = add(queues, 1, wait=True)
        wait_until(lambda: len(job_metrics.get_active_jobs(queues)) == 1)
        time.sleep(0.005)  # the two starts must differ in milliseconds
        (second,) = add(queues, 1, queue="cleaning", wait=True)
        wait_until(lambda: len(job_metrics.get_active_jobs(queues)) == 2)
        assert [job["id"] for job in job_metrics.get_active_jobs(queues, 50)] == [first, second]
        gate.set()


def test_served_queues_without_trouble_are_healthy(queues: Queues, broker: JobBroker) -> None:
    with running(broker):
        health = healthy_once_served(queues)
    assert health == {
        "healthy": True,
        "queues": {"total": 2, "healthy": 2, "unhealthy": 0, "issues": []},
        "scheduledJobs": {"total": 0, "running": 0, "stopped": 0, "issues": []},
        "workers": {"total": 2, "active": 2, "issues": []},
    }


def test_a_queue_that_nobody_serves_is_unhealthy(queues: Queues) -> None:
    health = job_metrics.get_job_system_health(queues, NO_SCHEDULES)
    assert health["healthy"] is False
    assert (health["workers"]["total"], health["workers"]["active"]) == (2, 0)
    assert "fetching: no live worker serves it; start one" in health["workers"]["issues"][1]


def test_over_ten_percent_failed_is_unhealthy_from_twenty_ended_jobs_on(queues: Queues, broker: JobBroker) -> None:
    add(queues, 16)
    add(queues, 3, fail=True)
    with running(broker):
        broker.join("fetching", timeout=5000)
        assert healthy_once_served(queues)["healthy"] is True
        add(queues, 1)
        broker.join("fetching", timeout=5000)
        health = job_metrics.get_job_system_health(queues, NO_SCHEDULES)
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
    assert issue.startswith("fetching: 1001 jobs wait, more than 1000; start more workers")


def test_a_queue_that_is_filled_in_bulk_is_judged_by_how_long_it_takes_to_drain(
    queues: Queues, broker: JobBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "BY_QUEUE", {"fetching": Thresholds(waiting_jobs=None, drain_seconds=7200)})
    add(queues, 1)
    with running(broker):
        broker.join("fetching", timeout=5000)
    add(queues, 2)
    assert queue_issues(queues) == []
    add(queues, 1)
    (issue,) = queue_issues(queues)
    assert issue.startswith("fetching: at the pace of the last hour its 3 waiting jobs take 3 h 0 min, longer than 2 h")


def test_a_job_that_waits_too_long_is_an_issue(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "BY_QUEUE", {"fetching": Thresholds(oldest_waiting_seconds=0)})
    add(queues, 1)
    add(queues, 1, queue="cleaning")
    time.sleep(0.005)  # a whole millisecond must pass
    (issue,) = queue_issues(queues)
    assert issue.startswith("fetching: its oldest job has waited 0 s, longer than 0 s")


def test_a_job_beyond_its_time_limit_is_an_issue_and_its_neighbour_is_not(
    broker: JobBroker, queues: Queues, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(thresholds, "DEFAULT", Thresholds(beyond_time_limit_seconds=0))
    queues.register(job_type("brief", "mixed", time_limit_ms=20))
    queues.register(job_type("lengthy", "mixed", time_limit_ms=60_000))
    with running(broker):
        brief = queues.add_job("mixed", "brief", {"wait": True})
        queues.add_job("mixed", "lengthy", {"wait": True})
        wait_until(lambda: len(job_metrics.get_active_jobs(queues)) == 2)
        wait_until(lambda: queue_issues(queues))
        (issue,) = queue_issues(queues)
        gate.set()
    assert issue.startswith(f"mixed: job {brief.id} (brief) has run")


def test_a_paused_queue_is_told_but_healthy(queues: Queues, broker: JobBroker) -> None:
    queues.get_queue("fetching").pause()
    add(queues, 1001)
    with running(broker):
        health = healthy_once_served(queues)
    assert health["healthy"] is True
    (issue,) = health["queues"]["issues"]
    assert issue.startswith("fetching: paused since 20")
    assert issue.endswith(" UTC, until somebody resumes it; 1001 jobs wait; nomad resume fetching")


def test_a_schedule_whose_last_job_failed_is_unhealthy(queues: Queues, broker: JobBroker) -> None:
    failed = {"name": "nightly", "queueName": "cleaning", "lastJobId": "j1", "lastStatus": "failed"}
    fine = {"name": "hourly", "queueName": "cleaning", "lastJobId": "j2", "lastStatus": "completed"}
    summary = {"total": 2, "running": 2, "stopped": 0, "jobs": [failed, fine], "schedulers": [{"live": True}]}
    with running(broker):
        healthy_once_served(queues)
        health = job_metrics.get_job_system_health(queues, summary)
    assert health["healthy"] is False
    assert health["scheduledJobs"]["total"] == 2
    (issue,) = health["scheduledJobs"]["issues"]
    assert issue.startswith("nightly: its last job failed")
    assert "/admin/jobs/queues/cleaning/jobs/j1" in issue


def queue_issues(queues: Queues) -> list[str]:
    issues: list[str] = job_metrics.get_job_system_health(queues, NO_SCHEDULES)["queues"]["issues"]
    return issues


def healthy_once_served(queues: Queues) -> dict[str, Any]:
    """Return the health as soon as every queue's worker has been heard."""
    deadline = time.monotonic() + 5
    while True:
        health = job_metrics.get_job_system_health(queues, NO_SCHEDULES)
        if health["workers"]["active"] == health["workers"]["total"] or time.monotonic() > deadline:
            return health
        time.sleep(0.005)
