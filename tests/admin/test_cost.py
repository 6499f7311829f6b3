"""What a request costs Redis: a bounded number of commands, however many jobs there are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from nomad_actors.testing import running

from .conftest import Parts

QUEUE = "/admin/jobs/queues/token-refresh"
#: The most commands that a request may need; the doctor looks at a sample of 200 jobs in three states of each queue.
MOST, MOST_OF_DOCTOR = 600, 2_500


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


def commands(client: redis.Redis, ask: FlaskClient, path: str) -> int:
    """Return how many commands Redis executed for a request, those inside scripts counted."""
    # What is done once (scripts are loaded, a schema is made) is not the request's.
    assert ask.get(path).status_code in (200, 503), path
    client.config_resetstat()
    ask.get(path)
    stats = client.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name.removeprefix("cmdstat_").split("|")[0] not in OWN)


#: What this test and a script's own running bring in.
OWN = ("config", "info", "evalsha", "eval")


@pytest.mark.slow
def test_a_request_costs_as_much_with_many_jobs_as_with_few(
    ask: FlaskClient, parts: Parts, web: Flask, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    fill(parts, 210, wait_until)
    paths = asked(ask, parts)
    few = {path: commands(redis_client, ask, path) for path in paths}
    fill(parts, 210, wait_until)
    many = {path: commands(redis_client, ask, path) for path in paths}
    assert many == few
    assert many.pop("/admin/doctor") <= MOST_OF_DOCTOR
    assert max(many.values()) <= MOST, many


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
    ]
