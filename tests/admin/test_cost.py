"""The number of Redis commands of a request is bounded, however many jobs there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from nomad_actors.testing import running

from .conftest import AdminApp

QUEUE = "/admin/jobs/queues/token-refresh"
#: The most commands of a request. The doctor's checks read a sample of each queue's jobs in three states; a clean of
#: delayed jobs reads the age of several hundred, since they are not sorted by age.
MOST, MOST_OF_CHECKS, MOST_OF_CLEAN = 600, 1_500, 5_000
CHECKED = ("/admin/doctor", "/admin/jobs/health", "/admin/")

Request = Callable[[], dict[str, Any]]


def fill(app: AdminApp, jobs: int, wait_until: Callable[..., None]) -> None:
    """Add `jobs` jobs to each state that needs no worker."""
    queue = app.queues.get_queue("token-refresh")
    for number in range(jobs):
        app.add(character_id=number % 5)
        app.add(character_id=number % 5, fail=True)
    with running(app.broker):
        wait_until(lambda: not queue.counts()["waiting"] + queue.counts()["active"], timeout_seconds=60)
    for number in range(jobs):
        app.add(character_id=number % 5)
        app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, delay=3_600_000)
    for _ in range(5):
        queue.cancel(app.add())


def commands(client: redis.Redis, operator: FlaskClient, request: Request) -> int:
    """Return how many commands Redis executed for a request, including those in scripts."""
    # The first request does one-time work: it loads scripts and creates the schema.
    response = operator.open(**request())
    assert response.status_code in (200, 201, 202, 303, 503), response.text
    arguments = request()
    client.config_resetstat()
    assert operator.open(**arguments).status_code == response.status_code
    stats = client.info("commandstats")
    return sum(
        each["calls"] for name, each in stats.items() if name.removeprefix("cmdstat_").split("|")[0] not in IGNORED
    )


#: Commands of this test itself, and calls of scripts.
IGNORED = ("config", "info", "evalsha", "eval")


@pytest.mark.slow
def test_the_cost_of_a_request_does_not_depend_on_the_number_of_jobs(
    operator: FlaskClient, app: AdminApp, web: Flask, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    fill(app, 210, wait_until)
    requests = {path: get(path) for path in read_paths(operator, app)} | changes(app)
    few = {name: commands(redis_client, operator, request) for name, request in requests.items()}
    fill(app, 210, wait_until)
    many = {name: commands(redis_client, operator, request) for name, request in requests.items()}
    assert many.pop("clean of delayed ones") <= MOST_OF_CLEAN
    assert {name: many[name] for name in many if many[name] != few[name]} == {}
    assert max(many.pop(path) for path in CHECKED) <= MOST_OF_CHECKS
    assert max(many.values()) <= MOST, many


def get(path: str) -> Request:
    return lambda: {"path": path}


def changes(app: AdminApp) -> dict[str, Request]:
    """Return requests that change something, each time another job."""
    queue = app.queues.get_queue("token-refresh")
    app.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))

    def of(state: str, method: str, end: str) -> Request:
        def request() -> dict[str, Any]:
            (job,) = queue.jobs(state, 20, 20)
            return {"path": f"{QUEUE}/jobs/{job.id}{end}", "method": method, "json": {}}

        return request

    def posted(end: str, body: object, method: str = "POST") -> Request:
        return lambda: {"path": f"{QUEUE}/{end}" if end[0] != "/" else end, "method": method, "json": body}

    job = {"name": "token-refresh-work", "data": {"character_id": 3}}
    limits = {"concurrency": 5, "starts": None, "periodMs": None, "maxLength": None}
    return {
        "retry": of("failed", "POST", "/retry"),
        "promote": of("delayed", "POST", "/promote"),
        "cancel": of("waiting", "POST", "/cancel"),
        **{f"remove of one that is {state}": of(state, "DELETE", "") for state in ("waiting", "delayed", "completed")},
        "pause": posted("pause", {"reason": "a look"}),
        "resume": posted("resume", {}),
        "limits": posted("limits", limits, "PUT"),
        "add": posted("jobs", job),
        "batch": posted("batch", {"jobs": [job] * 20}),
        "bulk, counted": posted("bulk", {"action": "remove", "filter": {"fields": {"character_id": "3"}}}),
        "bulk, begun": posted("bulk", {"action": "retry", "filter": {"status": ["failed"]}, "dryRun": False}),
        "clean": posted("clean", {"status": "completed", "grace": 0, "limit": 5}),
        "clean of delayed ones": posted("clean", {"status": "delayed", "grace": 3_600_000, "limit": 1}),
        "stop": posted("/admin/jobs/scheduler/nightly/stop", {}),
        "start": posted("/admin/jobs/scheduler/nightly/start", {}),
        "esi, paused": posted("/admin/jobs/esi/pause", {}),
        "esi, resumed": posted("/admin/jobs/esi/resume", {}),
    }


def read_paths(operator: FlaskClient, app: AdminApp) -> list[str]:
    """Return every path that is read, with the variants of lists, and the pages."""
    found = [
        path.replace("{queue}", "token-refresh")
        for path, operations in operator.get("/admin/openapi.json").get_json()["paths"].items()
        if "get" in operations
    ]
    (group, *_) = app.queues.get_queue("token-refresh").failures(limit=1).failure_groups
    return [
        *(path for path in found if "{" not in path),
        *(f"{QUEUE}/jobs?status={state}" for state in ("completed", "failed", "delayed", "active")),
        f"{QUEUE}/jobs?status=waiting,completed&field=character_id=1&limit=2",
        f"{QUEUE}/jobs?status=failed&fingerprint={group.fingerprint}",
        "/admin/",
        "/admin/bulk",
        "/admin/queues/token-refresh?limit=10",
        "/admin/queues/token-refresh?status=failed&limit=10",
        "/admin/queues/token-refresh/failures",
        "/admin/jobs/failed?outcome=cancelled&limit=2",
        f"{QUEUE}/jobs?outcome=failed,cancelled",
        "/admin/confirm/bulk?queue=token-refresh&action=remove&status=waiting",
        "/admin/confirm/clean?queue=token-refresh&status=failed&minutes=1&limit=10",
    ]
