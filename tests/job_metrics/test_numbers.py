"""The metrics that the admin shows, with real queues and jobs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nomad_actors import job_metrics
from nomad_actors.broker import JobBroker
from nomad_actors.errors import BadInput, NomadError, UnknownQueue
from nomad_actors.queues import Queues
from nomad_actors.queues import default as process_queues
from nomad_actors.testing import running
from tests.support.processes import ROOT, environ_for

from .errands import add, gate


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
        "kept": {"completed": 0, "failed": 0, "cancelled": 0},
        "isPaused": False,
        "pauses": [],
    }


def test_rates_count_ended_jobs_even_after_they_are_removed(queues: Queues, broker: JobBroker) -> None:
    add(queues, 3)
    add(queues, 1, fail=True)
    with running(broker):
        broker.join("fetching", timeout=5000)
    queues.get_queue("fetching").clean(0, "completed")
    metrics = job_metrics.get_queue_metrics("fetching", 3600, queues=queues)
    assert (metrics["completed"], metrics["failed"], metrics["total"]) == (3, 1, 4)
    assert (metrics["completionRate"], metrics["failureRate"]) == (75.0, 25.0)
    assert metrics["kept"] == {"completed": 0, "failed": 1, "cancelled": 0}
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


def test_failed_jobs_of_all_queues_are_listed_newest_first(queues: Queues, broker: JobBroker) -> None:
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


def test_running_jobs_of_all_queues_are_listed_longest_running_first(
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


def test_the_example_in_the_docs_runs(redis_url: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "job-types.md").read_text(encoding="utf-8")
    (example,) = re.findall(
        r"```python\n(import nomad_actors\nfrom nomad_actors import job_metrics.*?)```", page, re.DOTALL
    )
    result = subprocess.run(
        [sys.executable, "-c", f"{example}\nprint(health['healthy'])"],
        env=environ_for(tmp_path, redis_url),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "False\n"
