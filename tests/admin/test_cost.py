"""What a request costs Redis: a bounded number of commands, however many jobs there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from nomad_actors.testing import running

from .conftest import Parts

QUEUE = "/admin/jobs/queues/token-refresh"
#: The most commands that a request may need; what makes the doctor's checks looks at a sample of each queue's jobs in
#: three states, a clean at the ages of some hundreds of those that are in another order.
MOST, MOST_OF_CHECKS, MOST_OF_CLEAN = 600, 1_500, 5_000
CHECKED = ("/admin/doctor", "/admin/jobs/health", "/admin/")

Request = Callable[[], dict[str, Any]]


def fill(parts: Parts, jobs: int, wait_until: Callable[..., None]) -> None:
    """Have so many more jobs in each state that needs no worker."""
    queue = parts.queues.get_queue("token-refresh")
    for number in range(jobs):
        parts.add(character_id=number % 5)
        parts.add(character_id=number % 5, fail=True)
    with running(parts.broker):
        wait_until(lambda: not queue.counts()["waiting"] + queue.counts()["active"], timeout_seconds=60)
    for number in range(jobs):
        parts.add(character_id=number % 5)
        parts.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, delay=3_600_000)
    for _ in range(5):
        queue.cancel(parts.add())


def commands(client: redis.Redis, ask: FlaskClient, request: Request) -> int:
    """Return how many commands Redis executed for a request, those inside scripts counted."""
    # What is done once (scripts are loaded, a schema is made) is not the request's.
    answer = ask.open(**request())
    assert answer.status_code in (200, 201, 202, 303, 503), answer.text
    again = request()
    client.config_resetstat()
    assert ask.open(**again).status_code == answer.status_code
    stats = client.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name.removeprefix("cmdstat_").split("|")[0] not in OWN)


#: What this test and a script's own running bring in.
OWN = ("config", "info", "evalsha", "eval")


@pytest.mark.slow
def test_a_request_costs_as_much_with_many_jobs_as_with_few(
    ask: FlaskClient, parts: Parts, web: Flask, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    fill(parts, 210, wait_until)
    requests = {path: got(path) for path in asked(ask, parts)} | changes(parts)
    few = {name: commands(redis_client, ask, request) for name, request in requests.items()}
    fill(parts, 210, wait_until)
    many = {name: commands(redis_client, ask, request) for name, request in requests.items()}
    assert many.pop("clean of delayed ones") <= MOST_OF_CLEAN
    assert {name: many[name] for name in many if many[name] != few[name]} == {}
    assert max(many.pop(path) for path in CHECKED) <= MOST_OF_CHECKS
    assert max(many.values()) <= MOST, many


def got(path: str) -> Request:
    return lambda: {"path": path}


def changes(parts: Parts) -> dict[str, Request]:
    """Return what changes something, each time for another job."""
    queue = parts.queues.get_queue("token-refresh")
    parts.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))

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


def asked(ask: FlaskClient, parts: Parts) -> list[str]:
    """Return every path that is read, lists in their forms, and the pages."""
    found = [
        path.replace("{queue}", "token-refresh")
        for path, operations in ask.get("/admin/openapi.json").get_json()["paths"].items()
        if "get" in operations
    ]
    (fault, *_) = parts.queues.get_queue("token-refresh").failures(limit=1).faults
    return [
        *(path for path in found if "{" not in path),
        *(f"{QUEUE}/jobs?status={state}" for state in ("completed", "failed", "delayed", "active")),
        f"{QUEUE}/jobs?status=waiting,completed&field=character_id=1&limit=2",
        f"{QUEUE}/jobs?status=failed&fingerprint={fault.fingerprint}",
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
