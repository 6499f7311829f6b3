"""The original system's admin API, line by line: whoever called it finds the same paths, parameters and fields here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from flask import Flask

from chaos.api_fuzz import served
from nomad_actors.testing import running
from tests.support.operator import as_operator

from .conftest import QUEUES, Parts, gate

JOB_LISTED = {"queueName", "jobId", "failedReason", "attemptsMade"}
#: BullMQ's own JSON of a job.
JOB = {
    *("id", "name", "data", "opts", "progress", "attemptsMade", "failedReason", "stacktrace"),
    *("returnvalue", "timestamp", "processedOn", "finishedOn"),
}
QUEUE = {
    *("queueName", "waiting", "active", "completed", "failed", "total"),
    *("completionRate", "failureRate", "avgProcessingTime"),
}
SUMMARY = {
    *("queues", "totalJobs", "activeJobs", "completedJobs", "failedJobs", "waitingJobs"),
    *("overallCompletionRate", "overallFailureRate"),
}


class Line(NamedTuple):
    """One endpoint of the original: a request as it was written, and the fields of its answer at a place in it."""

    method: str
    path: str
    fields: set[str]
    place: tuple[str | int, ...] = ()
    body: dict[str, Any] | None = None


STATES = ("waiting", "active", "completed", "failed", "delayed", "paused")

LINES = [
    Line("GET", "/admin/jobs/health", {"healthy", "queues", "scheduledJobs", "workers"}),
    Line("GET", "/admin/jobs/health", {"total", "healthy", "unhealthy", "issues"}, ("queues",)),
    Line("GET", "/admin/jobs/health", {"total", "running", "stopped", "issues"}, ("scheduledJobs",)),
    Line("GET", "/admin/jobs/health", {"total", "active", "issues"}, ("workers",)),
    Line("GET", "/admin/jobs/metrics", SUMMARY),
    Line("GET", "/admin/jobs/metrics", QUEUE, ("queues", 0)),
    Line("GET", "/admin/jobs/queues", QUEUE, ("queues", 0)),
    Line("GET", "/admin/jobs/queues/{queue}", QUEUE),
    *(Line("GET", f"/admin/jobs/queues/{{queue}}/jobs?status={state}&limit=10", {"jobs"}) for state in STATES),
    Line("GET", "/admin/jobs/queues/{queue}/jobs?status=failed&limit=10", JOB, ("jobs", 0)),
    Line("GET", "/admin/jobs/failed?limit=50", JOB_LISTED | JOB, ("jobs", 0)),
    Line("GET", "/admin/jobs/active?limit=50", {"jobs"}),
    Line("POST", "/admin/jobs/queues/{queue}/jobs/{failed}/retry", {"success", "queueName", "jobId"}),
    Line("DELETE", "/admin/jobs/queues/{queue}/jobs/{failed}", {"success", "queueName", "jobId"}),
    Line("POST", "/admin/jobs/queues/{queue}/pause", {"success", "queueName"}),
    Line("POST", "/admin/jobs/queues/{queue}/resume", {"success", "queueName"}),
    Line(
        "POST",
        "/admin/jobs/queues/{queue}/clean",
        {"success", "queueName", "removed"},
        body={"grace": 3600000, "status": "completed", "limit": 1000},
    ),
    Line("GET", "/admin/jobs/scheduler", {"total", "running", "stopped", "jobs"}),
    Line("GET", "/admin/jobs/scheduler", {"name", "running", "nextRun", "lastRun"}, ("jobs", 0)),
    Line("POST", "/admin/jobs/scheduler/{schedule}/start", {"success", "jobName"}),
    Line("POST", "/admin/jobs/scheduler/{schedule}/stop", {"success", "jobName"}),
]
#: What it answers when the path names what does not exist.
UNKNOWN = [line for line in LINES if "{" in line.path]


@pytest.fixture
def url(web: Flask, parts: Parts) -> Iterator[str]:
    """The address of a healthy system's admin, with workers, a scheduler, a schedule and jobs that ended."""
    parts.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    parts.hear_scheduler()
    with running(parts.broker):
        parts.add()
        parts.add(fail=True)
        parts.broker.join("token-refresh", timeout=5000)
        with served(web) as url:
            yield url


def test_every_endpoint_of_the_original_answers_here(url: str, parts: Parts) -> None:
    acted_on = [parts.add(fail=True) if "{failed}" in line.path else "" for line in LINES]
    parts.broker.join("token-refresh", timeout=10_000)
    wrong = [
        said
        for line, job_id in zip(LINES, acted_on, strict=True)
        for said in differences(url, line, job_id, parts.settings.var_dir)
    ]
    assert not wrong, "\n".join(wrong)


def differences(
    url: str,
    line: Line,
    failed: str,
    var_dir: Path,
    *,
    queue: str = "token-refresh",
    schedule: str = "nightly",
) -> Iterator[str]:
    """Yield in what an answer is not the original's; looking takes no token on this machine, as it took none there."""
    path = line.path.format(queue=queue, failed=failed, schedule=schedule)
    headers = {} if line.method == "GET" else as_operator(var_dir)
    answer = requests.request(line.method, url + path, json=line.body, headers=headers, timeout=10)
    if (answer.status_code, answer.headers["Content-Type"]) != (200, "application/json"):
        yield f"{line.method} {path}: {answer.status_code} {answer.text[:300]}"
        return
    found = answer.json()
    for step in line.place:
        found = found[step]
    if missing := line.fields - set(found):
        yield f"{line.method} {path}: {sorted(missing)} missing at {line.place}"


def test_what_does_not_exist_is_404(url: str, parts: Parts) -> None:
    for line in UNKNOWN:
        path = line.path.format(queue="nothing", failed="nobody", schedule="never")
        headers = as_operator(parts.settings.var_dir)
        answer = requests.request(line.method, url + path, json=line.body, headers=headers, timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json"), path


def test_what_a_state_does_not_allow_is_409_and_what_is_wrong_422(
    url: str, parts: Parts, wait_until: Callable[..., None]
) -> None:
    queue = f"{url}/admin/jobs/queues/token-refresh"
    runs = parts.add(wait=True)
    wait_until(lambda: parts.queues.get_queue("token-refresh").counts()["active"] == 1)
    for method, path, body, status in (
        ("POST", f"jobs/{runs}/retry", None, 409),
        ("DELETE", f"jobs/{runs}", None, 409),
        ("GET", "jobs?status=done", None, 422),
        ("GET", "jobs?limit=0", None, 422),
        ("POST", "clean", {"grace": -1}, 422),
        ("POST", "clean", {"status": "active"}, 422),
    ):
        headers = as_operator(parts.settings.var_dir)
        answer = requests.request(method, f"{queue}/{path}", json=body, headers=headers, timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), path
    for path in ("failed?limit=x", "active?limit=1001"):
        assert requests.get(f"{url}/admin/jobs/{path}", timeout=10).status_code == 422
    gate.set()


def test_the_lists_take_the_originals_defaults(url: str, parts: Parts) -> None:
    parts.queues.get_queue("esi-refresh").pause()
    ids = [parts.add("esi-refresh") for _ in range(12)]
    told = requests.get(f"{url}/admin/jobs/queues/esi-refresh/jobs?status=paused", timeout=10).json()
    assert [job["id"] for job in told["jobs"]] == ids[:10]
    assert requests.get(f"{url}/admin/jobs/queues/esi-refresh/jobs", timeout=10).json()["jobs"] == []
    assert len(requests.get(f"{url}/admin/jobs/failed", timeout=10).json()["jobs"]) == 1


def test_a_system_without_workers_is_503_with_the_same_fields(bare: Flask) -> None:
    with served(bare) as url:
        answer = requests.get(f"{url}/admin/jobs/health", timeout=10)
    assert answer.status_code == 503
    assert answer.json()["workers"] == {
        "total": len(QUEUES),
        "active": 0,
        "issues": answer.json()["workers"]["issues"],
    }
