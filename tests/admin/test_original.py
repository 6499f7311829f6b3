"""The original system's admin API: every path, parameter and field of it exists here too."""

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

from .conftest import QUEUES, AdminApp, gate

JOB_LISTED = {"queueName", "jobId", "failedReason", "attemptsMade"}
#: The fields of a job in BullMQ's JSON.
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
    """One endpoint of the original: a request, and the fields at `json_path` in its response."""

    method: str
    path: str
    fields: set[str]
    json_path: tuple[str | int, ...] = ()
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
#: Requests whose path can name something that does not exist.
UNKNOWN = [line for line in LINES if "{" in line.path]


@pytest.fixture
def url(web: Flask, app: AdminApp) -> Iterator[str]:
    """The URL of a healthy system's admin, with workers, a scheduler, a schedule and ended jobs."""
    app.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    app.simulate_scheduler()
    with running(app.broker):
        app.add()
        app.add(fail=True)
        app.broker.join("token-refresh", timeout=5000)
        with served(web) as url:
            yield url


def test_every_endpoint_of_the_original_answers_here(url: str, app: AdminApp) -> None:
    failed_ids = [app.add(fail=True) if "{failed}" in line.path else "" for line in LINES]
    app.broker.join("token-refresh", timeout=10_000)
    wrong = [
        difference
        for line, job_id in zip(LINES, failed_ids, strict=True)
        for difference in differences(url, line, job_id, app.settings.var_dir)
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
    """Yield how a response differs from the original's. GET needs no token on this machine, as in the original."""
    path = line.path.format(queue=queue, failed=failed, schedule=schedule)
    headers = {} if line.method == "GET" else as_operator(var_dir)
    response = requests.request(line.method, url + path, json=line.body, headers=headers, timeout=10)
    if (response.status_code, response.headers["Content-Type"]) != (200, "application/json"):
        yield f"{line.method} {path}: {response.status_code} {response.text[:300]}"
        return
    found = response.json()
    for step in line.json_path:
        found = found[step]
    if missing := line.fields - set(found):
        yield f"{line.method} {path}: {sorted(missing)} missing at {line.json_path}"


def test_an_unknown_name_is_404(url: str, app: AdminApp) -> None:
    for line in UNKNOWN:
        path = line.path.format(queue="nothing", failed="nobody", schedule="never")
        headers = as_operator(app.settings.var_dir)
        response = requests.request(line.method, url + path, json=line.body, headers=headers, timeout=10)
        assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json"), path


def test_a_wrong_state_is_409_and_an_invalid_value_422(
    url: str, app: AdminApp, wait_until: Callable[..., None]
) -> None:
    queue = f"{url}/admin/jobs/queues/token-refresh"
    active = app.add(wait=True)
    wait_until(lambda: app.queues.get_queue("token-refresh").counts()["active"] == 1)
    for method, path, body, status in (
        ("POST", f"jobs/{active}/retry", None, 409),
        ("DELETE", f"jobs/{active}", None, 409),
        ("GET", "jobs?status=done", None, 422),
        ("GET", "jobs?limit=0", None, 422),
        ("POST", "clean", {"grace": -1}, 422),
        ("POST", "clean", {"status": "active"}, 422),
    ):
        headers = as_operator(app.settings.var_dir)
        response = requests.request(method, f"{queue}/{path}", json=body, headers=headers, timeout=10)
        assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json"), path
    for path in ("failed?limit=x", "active?limit=1001"):
        assert requests.get(f"{url}/admin/jobs/{path}", timeout=10).status_code == 422
    gate.set()


def test_lists_have_the_originals_defaults(url: str, app: AdminApp) -> None:
    app.queues.get_queue("esi-refresh").pause()
    ids = [app.add("esi-refresh") for _ in range(12)]
    page = requests.get(f"{url}/admin/jobs/queues/esi-refresh/jobs?status=paused", timeout=10).json()
    assert [job["id"] for job in page["jobs"]] == ids[:10]
    assert requests.get(f"{url}/admin/jobs/queues/esi-refresh/jobs", timeout=10).json()["jobs"] == []
    assert len(requests.get(f"{url}/admin/jobs/failed", timeout=10).json()["jobs"]) == 1


def test_a_system_without_workers_is_503_with_the_same_fields(unchecked_web: Flask) -> None:
    with served(unchecked_web) as url:
        response = requests.get(f"{url}/admin/jobs/health", timeout=10)
    assert response.status_code == 503
    assert response.json()["workers"] == {
        "total": len(QUEUES),
        "active": 0,
        "issues": response.json()["workers"]["issues"],
    }
