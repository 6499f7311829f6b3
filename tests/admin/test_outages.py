"""While Redis or the database is down or frozen, requests that need it get a 503 within two seconds."""

from __future__ import annotations

import random
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from admin.serve import LIMITS
from nomad_actors.broker import JobBroker, RedisUnavailable
from nomad_actors.clock import mono_ms
from nomad_actors.processes.local_redis import LocalRedis
from tests.support.operator import as_operator
from tests.support.postgres import Postgres

from .test_serve import start

JOB = {"name": "cache-cleanup", "data": {"type": "expired"}}
#: The bodies of endpoints that need one, by method and end of the path.
BODIES: dict[tuple[str, str], object] = {
    ("post", "jobs"): JOB,
    ("post", "batch"): {"jobs": [JOB]},
    ("post", "bulk"): {"action": "retry"},
    ("put", "limits"): {"concurrency": 1, "starts": None, "periodMs": None, "maxLength": None},
}
#: Concurrent requests: fewer than the admin's threads, and few enough for a busy machine, so that none is queued.
AT_ONCE = 2


@pytest.fixture
def url(tmp_path: Path, own_redis: LocalRedis, wait_until: Callable[..., None]) -> Iterator[str]:
    """The URL of an admin in its own process, with its own Redis."""
    ready = tmp_path / "ready"
    process = start(tmp_path, own_redis.url, "--ready-file", str(ready))
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        yield ready.read_text().strip()
    finally:
        process.terminate()
        process.communicate(timeout=15)


@pytest.mark.slow
def test_every_endpoint_reports_a_missing_redis_within_two_seconds_and_recovers(
    url: str, own_redis: LocalRedis, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    operations = [*operations_that_need_redis(url), ("get", "/admin/")]
    assert len(operations) > 15
    assert_answers(url, wait_until)
    own_redis.kill()
    assert_unavailable(url, operations, as_operator(tmp_path))
    own_redis.start()
    assert_answers(url, wait_until)
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        assert_unavailable(url, operations, as_operator(tmp_path))
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
    assert_answers(url, wait_until)


#: Read from the database alone; a character that does not exist is not looked for in Redis either.
FROM_THE_DATABASE = ("/admin/jobs/audit", "/admin/jobs/characters", "/admin/jobs/characters/{characterId}")


def operations_that_need_redis(url: str) -> list[tuple[str, str]]:
    paths: dict[str, dict[str, Any]] = requests.get(f"{url}/admin/openapi.json", timeout=10).json()["paths"]
    return [
        (method, re.sub(r"{\w+}", "x", path.replace("{queue}", "cache-cleanup")))
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "503" in operation["responses"] and path not in FROM_THE_DATABASE and not path.startswith("/data/")
    ]


def assert_unavailable(url: str, operations: list[tuple[str, str]], headers: dict[str, str]) -> None:
    def send(method: str, path: str) -> requests.Response:
        body = BODIES.get((method, path.rpartition("/")[2]))
        return requests.request(method, url + path, json=body, headers=headers, timeout=30)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        responses = list(pool.map(lambda each: send(*each), operations))
    for (method, path), response in zip(operations, responses, strict=True):
        context = f"{method} {path}: {response.status_code} after {response.elapsed}: {response.text[:300]}"
        assert response.status_code == 503, context
        assert path == "/admin/doctor" or "Redis did not take the command" in response.text, context
        assert response.elapsed.total_seconds() < 2, context
    # Requests that do not need Redis still work.
    assert requests.get(f"{url}/healthz", timeout=10).status_code == 200
    assert requests.get(f"{url}/admin/openapi.json", timeout=10).status_code == 200


def assert_answers(url: str, wait_until: Callable[..., None]) -> None:
    wait_until(lambda: requests.get(f"{url}/readyz", timeout=10).status_code == 200)
    assert requests.get(f"{url}/admin/jobs/metrics", timeout=10).status_code == 200


@pytest.fixture
def locked(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[tuple[str, sqlite3.Connection]]:
    """The URL of an admin, and a second connection to its database."""
    ready = tmp_path / "ready"
    process = start(tmp_path, redis_url, "--ready-file", str(ready))
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        url = ready.read_text().strip()
        assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
        writer = sqlite3.connect(tmp_path / "nomad.db", isolation_level=None)
        yield url, writer
        writer.close()
    finally:
        process.terminate()
        process.communicate(timeout=15)


def test_a_locked_database_is_reported_within_two_seconds_and_nothing_is_changed(
    locked: tuple[str, sqlite3.Connection], tmp_path: Path
) -> None:
    url, writer = locked
    pause = f"{url}/admin/jobs/queues/cache-cleanup/pause"
    assert requests.post(pause.replace("pause", "resume"), headers=as_operator(tmp_path), timeout=30).status_code == 200
    writer.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        responses = list(
            pool.map(lambda _: requests.post(pause, headers=as_operator(tmp_path), timeout=30), range(AT_ONCE))
        )
    for response in responses:
        assert response.status_code == 503
        assert "nothing was changed: the audit log cannot be written" in response.json()["detail"]
        assert response.elapsed.total_seconds() < 2
    # Reading still works.
    assert requests.get(f"{url}/admin/jobs/queues/cache-cleanup", timeout=10).json()["isPaused"] is False
    writer.execute("ROLLBACK")
    assert requests.post(pause, headers=as_operator(tmp_path), timeout=30).status_code == 200


@pytest.fixture
def on_postgres(
    tmp_path: Path, redis_url: str, postgres: Postgres, wait_until: Callable[..., None]
) -> Iterator[tuple[str, Postgres]]:
    """The URL of an admin that has used its PostgreSQL from all its threads, and the server."""
    postgres.empty()
    ready = tmp_path / "ready"
    settings = {"DATABASE_URL": postgres.url, "NOMAD_TOKEN_KEYS": "c0V5gM7-t1pYQZr4kN8wXb2_LJdHsOaFiUe6mTqGvRn"}
    process = start(tmp_path, redis_url, "--ready-file", str(ready), **settings)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        url = ready.read_text().strip()
        # The first request migrates the schema, which may take longer than its deadline.
        wait_until(lambda: requests.get(f"{url}/readyz", timeout=10).status_code == 200, timeout_seconds=30)
        with ThreadPoolExecutor(2 * LIMITS.threads) as pool:
            responses = list(
                pool.map(lambda _: requests.get(f"{url}/admin/jobs/audit", timeout=10), range(4 * LIMITS.threads))
            )
        assert {response.status_code for response in responses} == {200}
        yield url, postgres
    finally:
        process.terminate()
        process.communicate(timeout=15)


@pytest.mark.slow
def test_a_frozen_postgres_is_reported_within_two_seconds_and_blocks_no_thread(
    on_postgres: tuple[str, Postgres], tmp_path: Path
) -> None:
    url, postgres = on_postgres
    pause = "/admin/jobs/queues/cache-cleanup/pause"
    all_requests = [
        *(("get", path) for path in ("/admin/jobs/audit", "/admin/audit", "/readyz", "/metrics", "/admin/doctor")),
        *(("post", path) for path in (pause, "/admin/jobs/esi/pause", "/admin/jobs/queues/cache-cleanup/clean")),
    ]
    headers = as_operator(tmp_path)

    def send(method: str, path: str) -> requests.Response:
        return requests.request(method, url + path, headers=headers, timeout=30)

    with postgres.frozen():
        with ThreadPoolExecutor(AT_ONCE) as pool:
            responses = list(pool.map(lambda each: send(*each), 4 * all_requests))
        for (method, path), response in zip(4 * all_requests, responses, strict=True):
            context = f"{method} {path}: {response.status_code} after {response.elapsed}: {response.text[:300]}"
            assert response.elapsed.total_seconds() < 2, context
            if path == "/metrics":
                assert 'nomad_collector_success{source="database"} 0.0' in response.text, context
            else:
                assert response.status_code == 503, context
                assert path == "/admin/doctor" or "no response in time" in response.text, context
        # Refusals and requests that do not need the database still work.
        for path, more, status in (
            ("/admin/jobs/queues", {"Host": "evil.example"}, 403),
            ("/healthz", {}, 200),
            ("/admin/jobs/queues/cache-cleanup", {}, 200),
        ):
            response = requests.get(url + path, headers=more, timeout=30)
            assert (response.status_code, response.elapsed.total_seconds() < 2) == (status, True), path
    assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
    assert requests.get(f"{url}/admin/jobs/queues/cache-cleanup", timeout=10).json()["isPaused"] is False
    assert requests.post(url + pause, headers=headers, timeout=10).status_code == 200


def test_a_damaged_database_is_reported_and_requests_are_still_refused(
    tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    (tmp_path / "nomad.db").write_bytes(random.Random(1).randbytes(20_000))
    ready = tmp_path / "ready"
    process = start(tmp_path, redis_url, "--ready-file", str(ready))
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        url = ready.read_text().strip()
        pause = f"{url}/admin/jobs/queues/cache-cleanup/pause"
        for response in (
            requests.get(f"{url}/admin/jobs/audit", timeout=10),
            requests.get(f"{url}/readyz", timeout=10),
            requests.post(pause, headers=as_operator(tmp_path), timeout=10),
        ):
            assert response.status_code == 503, response.text
            assert "it is not a SQLite database" in response.text
        assert requests.post(pause, headers={"Host": "evil.example"}, timeout=10).status_code == 403
        assert requests.get(f"{url}/admin/jobs/queues/cache-cleanup", timeout=10).json()["isPaused"] is False
    finally:
        process.terminate()
        process.communicate(timeout=15)


def test_a_callers_command_ends_at_its_deadline(own_redis: LocalRedis) -> None:
    broker = JobBroker(url=own_redis.url, caller_deadline_ms=500)
    broker.ping()
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        began_ms = mono_ms()
        with pytest.raises(RedisUnavailable, match="Timeout"):
            broker.ping()
        took_ms = mono_ms() - began_ms
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
    assert 200 <= took_ms < 1000
    broker.ping()
    broker.close()
