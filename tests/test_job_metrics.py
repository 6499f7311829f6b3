"""The numbers that the admin shows and the health that it reports, on real queues with real endings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from nomad_actors import job_metrics, thresholds
from nomad_actors import queues as process_queues
from nomad_actors.broker import JobBroker
from nomad_actors.clock import SystemClock
from nomad_actors.errors import BadInput, NomadError, Unavailable, UnknownQueue
from nomad_actors.job_types import Backoff, JobType, Payload, Result
from nomad_actors.queues import NewJob, Queues
from nomad_actors.scheduler import Schedules
from nomad_actors.settings import Settings
from nomad_actors.testing import running
from nomad_actors.thresholds import Thresholds
from tests import full_disk


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
    hear_scheduler(queues)
    return queues


def hear_scheduler(queues: Queues, **told: Any) -> None:
    """Let a scheduler say that it lives."""
    book = queues.schedule_book()
    book.beat("host:1", book.redis_ms(), forget_before_ms=0, **told)


def add(queues: Queues, count: int, *, queue: str = "fetching", **data: object) -> list[str]:
    jobs = queues.add_jobs([NewJob(queue=queue, job_type=queue, data=data)] * count)
    return [job.id for job in jobs]


def test_without_an_ended_job_rates_and_times_are_null(queues: Queues) -> None:
    add(queues, 3)
    assert job_metrics.get_queue_metrics("fetching", queues=queues) == {
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
    metrics = job_metrics.get_queue_metrics("fetching", 3600, queues=queues)
    assert (metrics["completed"], metrics["failed"], metrics["total"]) == (3, 1, 4)
    assert (metrics["completionRate"], metrics["failureRate"]) == (75.0, 25.0)
    assert metrics["kept"] == {"completed": 0, "failed": 1}
    assert metrics["windowSeconds"] == 3600
    assert 0 <= metrics["avgProcessingTime"] < 1000


def test_a_paused_queues_waiting_jobs_are_counted_as_paused(queues: Queues) -> None:
    add(queues, 2)
    queues.get_queue("fetching").pause()
    metrics = job_metrics.get_queue_metrics("fetching", queues=queues)
    assert (metrics["waiting"], metrics["paused"], metrics["isPaused"]) == (0, 2, True)


def test_metrics_of_an_unknown_queue_or_window_are_refused(queues: Queues) -> None:
    with pytest.raises(UnknownQueue, match="fetching"):
        job_metrics.get_queue_metrics("fetch", queues=queues)
    with pytest.raises(BadInput, match="60 to 86400"):
        job_metrics.get_queue_metrics("fetching", 5, queues=queues)


def test_the_summary_adds_the_queues_up(queues: Queues, broker: JobBroker) -> None:
    add(queues, 1)
    add(queues, 1, queue="cleaning", fail=True)
    with running(broker):
        broker.join("fetching", timeout=5000)
        broker.join("cleaning", timeout=5000)
    add(queues, 2)
    summary = job_metrics.get_job_activity_summary(queues=queues)
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
    failed = job_metrics.get_failed_jobs(50, queues=queues)
    assert [job["jobId"] for job in failed] == [second, first]
    assert failed[1]["queueName"] == "fetching"
    assert failed[1]["failedReason"] == "ValueError: ESI said no"
    assert failed[1]["attemptsMade"] == 1
    assert [job["jobId"] for job in job_metrics.get_failed_jobs(1, queues=queues)] == [second]


def test_running_jobs_of_all_queues_come_longest_running_first(
    queues: Queues, broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    with running(broker):
        (first,) = add(queues, 1, wait=True)
        wait_until(lambda: len(job_metrics.get_active_jobs(queues=queues)) == 1)
        time.sleep(0.005)  # the two starts must differ in milliseconds
        (second,) = add(queues, 1, queue="cleaning", wait=True)
        wait_until(lambda: len(job_metrics.get_active_jobs(queues=queues)) == 2)
        assert [job["id"] for job in job_metrics.get_active_jobs(50, queues=queues)] == [first, second]
        gate.set()


def test_served_queues_without_trouble_are_healthy(queues: Queues, broker: JobBroker) -> None:
    with running(broker):
        health = healthy_once_served(queues)
    assert health == {
        "healthy": True,
        "queues": {"total": 2, "healthy": 2, "unhealthy": 0, "issues": []},
        "scheduledJobs": {"total": 0, "running": 0, "stopped": 0, "issues": []},
        "workers": {"total": 2, "active": 2, "issues": []},
        "redis": {"issues": []},
    }


def test_a_queue_that_nobody_serves_is_unhealthy(queues: Queues) -> None:
    health = job_metrics.get_job_system_health(queues=queues)
    assert health["healthy"] is False
    assert (health["workers"]["total"], health["workers"]["active"]) == (2, 0)
    assert health["workers"]["issues"][1].startswith("fetching: no live worker serves it; nomad run workers")


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
    assert issue.startswith("fetching: 1001 jobs wait, more than 1000; nomad doctor says whether something holds it")


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
    assert issue.startswith("fetching: at the pace of the last hour its 3 waiting jobs take 3 h 0 min, longer than 2 h")
    # Filled a moment ago: the hour that the pace is taken over was idle.
    limits()
    assert queue_issues(queues) == []


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
        wait_until(lambda: len(job_metrics.get_active_jobs(queues=queues)) == 2)
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


def test_a_schedule_whose_last_job_failed_is_unhealthy_while_it_is_on(queues: Queues, broker: JobBroker) -> None:
    def issues() -> list[str]:
        found: list[str] = job_metrics.get_job_system_health(queues=queues)["scheduledJobs"]["issues"]
        return found

    schedules = Schedules(queues, queues.clock)
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
    assert issue == f"nightly: its last job failed; nomad job {failed} says why; when mended: nomad retry {failed}"
    # One that is off promises nothing, and one whose job somebody removed or retried has been seen to.
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
        "schedulers: none lives: nothing that is due is added; nomad run scheduler"
    ]


def test_schedulers_that_all_hold_are_unhealthy_and_one_beside_another_is_not(queues: Queues) -> None:
    hear_scheduler(queues, offset_seconds=-30.0, holds="this host's clock and Redis' differ by -30.0 s")
    (issue,) = job_metrics.get_job_system_health(queues=queues)["scheduledJobs"]["issues"]
    assert issue.startswith("schedulers: host:1 holds (this host's clock and Redis' differ by -30.0 s)")
    book = queues.schedule_book()
    book.beat("host:2", book.redis_ms(), forget_before_ms=0)
    assert job_metrics.get_job_system_health(queues=queues)["scheduledJobs"]["issues"] == []


def test_schedules_of_the_code_that_redis_has_lost_are_unhealthy(queues: Queues) -> None:
    queues.register(job_type("cache-cleanup", "cache-cleanup"))
    (issue,) = job_metrics.get_job_system_health(queues=queues)["scheduledJobs"]["issues"]
    assert issue.startswith("cache-cleanup: unknown to Redis, which came back empty")


def test_a_redis_that_is_full_or_nearly_is_unhealthy(queues: Queues, redis_client: redis.Redis) -> None:
    used = redis_client.info("memory")["used_memory"]
    try:
        redis_client.config_set("maxmemory", int(used * 1.02))
        (nearly,) = job_metrics.get_job_system_health(queues=queues)["redis"]["issues"]
        redis_client.config_set("maxmemory", used // 2)
        health = job_metrics.get_job_system_health(queues=queues)
        with pytest.raises(Unavailable, match=r"it is full, and takes nothing new until room is made \("):
            add(queues, 1)
    finally:
        redis_client.config_set("maxmemory", 0)
    assert "% of its memory limit are used; when it is full, no job can be added" in nearly
    assert health["healthy"] is False
    assert health["redis"]["issues"] == [
        "Redis: it is full, and takes nothing new until room is made; make room: nomad clean QUEUE --status completed"
    ]
    # A full one still hears the workers.
    assert "no live worker serves it" in health["workers"]["issues"][0]


def test_a_redis_without_room_on_its_disk_is_told_instead_of_missing_workers(tmp_path: Path) -> None:
    server = full_disk.start(tmp_path / "redis")
    broker = JobBroker(url=server.url)
    try:
        queues = Queues(broker, settings=Settings(), clock=SystemClock())
        queues.register(job_type("fetching", "fetching"))
        with full_disk.full(server):
            health = job_metrics.get_job_system_health(queues=queues)
            with pytest.raises(Unavailable, match="it cannot write to its disk, and takes no change until it can"):
                add(queues, 1)
    finally:
        broker.close()
        server.kill()
    assert health["redis"]["issues"] == [
        "Redis: it cannot write to its disk, and takes no change until it can; nomad doctor"
    ]
    (issue,) = health["workers"]["issues"]
    assert issue.startswith("fetching: no live worker is heard of: Redis takes no change")


def test_the_functions_work_on_the_application_of_the_process(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_queues, "_default", queues)
    add(queues, 2)
    assert job_metrics.get_queue_metrics("fetching")["waiting"] == 2
    assert [queue["queueName"] for queue in job_metrics.get_all_queue_metrics()] == ["cleaning", "fetching"]
    assert job_metrics.get_job_activity_summary()["waitingJobs"] == 2
    assert job_metrics.get_failed_jobs(50) == []
    assert job_metrics.get_active_jobs() == []
    assert job_metrics.get_job_system_health()["workers"]["total"] == 2
    monkeypatch.setattr(process_queues, "_default", None)
    with pytest.raises(NomadError, match=r"call nomad_actors\.connect"):
        job_metrics.get_all_queue_metrics()


def queue_issues(queues: Queues) -> list[str]:
    issues: list[str] = job_metrics.get_job_system_health(queues=queues)["queues"]["issues"]
    return issues


def healthy_once_served(queues: Queues) -> dict[str, Any]:
    """Return the health as soon as every queue's worker has been heard."""
    deadline = time.monotonic() + 5
    while True:
        health = job_metrics.get_job_system_health(queues=queues)
        if health["workers"]["active"] == health["workers"]["total"] or time.monotonic() > deadline:
            return health
        time.sleep(0.005)
