"""A Redis or a database that is gone or holds its breath: who needs it is told so within two seconds; it comes back."""

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
#: What is sent to those that need a body, by the end of their paths.
BODIES: dict[tuple[str, str], object] = {
    ("post", "jobs"): JOB,
    ("post", "batch"): {"jobs": [JOB]},
    ("post", "bulk"): {"action": "retry"},
    ("put", "limits"): {"concurrency": 1, "starts": None, "periodMs": None, "maxLength": None},
}
#: Fewer at a time than the admin has threads, and few enough for a busy machine: none waits for another.
AT_ONCE = 2


@pytest.fixture
def url(tmp_path: Path, own_redis: LocalRedis, wait_until: Callable[..., None]) -> Iterator[str]:
    """The address of an admin in a process of its own, whose Redis may be hurt."""
    ready = tmp_path / "ready"
    process = start(tmp_path, own_redis.url, "--ready-file", str(ready))
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        yield ready.read_text().strip()
    finally:
        process.terminate()
        process.communicate(timeout=15)


@pytest.mark.slow
def test_every_endpoint_says_within_two_seconds_that_redis_is_away_and_comes_back(
    url: str, own_redis: LocalRedis, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    needing = [*operations_that_need_redis(url), ("get", "/admin/")]
    assert len(needing) > 15
    assert_answers(url, wait_until)
    own_redis.kill()
    assert_away(url, needing, as_operator(tmp_path))
    own_redis.start()
    assert_answers(url, wait_until)
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        assert_away(url, needing, as_operator(tmp_path))
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
    assert_answers(url, wait_until)


def operations_that_need_redis(url: str) -> list[tuple[str, str]]:
    paths: dict[str, dict[str, Any]] = requests.get(f"{url}/admin/openapi.json", timeout=10).json()["paths"]
    return [
        (method, re.sub(r"{\w+}", "x", path.replace("{queue}", "cache-cleanup")))
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "503" in operation["responses"] and path != "/admin/jobs/audit"
    ]


def assert_away(url: str, needing: list[tuple[str, str]], headers: dict[str, str]) -> None:
    def ask(method: str, path: str) -> requests.Response:
        body = BODIES.get((method, path.rpartition("/")[2]))
        return requests.request(method, url + path, json=body, headers=headers, timeout=30)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda each: ask(*each), needing))
    for (method, path), answer in zip(needing, answers, strict=True):
        said = f"{method} {path}: {answer.status_code} after {answer.elapsed}: {answer.text[:300]}"
        assert answer.status_code == 503, said
        assert path == "/admin/doctor" or "Redis did not take the command" in answer.text, said
        assert answer.elapsed.total_seconds() < 2, said
    # What does not need Redis does not notice.
    assert requests.get(f"{url}/healthz", timeout=10).status_code == 200
    assert requests.get(f"{url}/admin/openapi.json", timeout=10).status_code == 200


def assert_answers(url: str, wait_until: Callable[..., None]) -> None:
    wait_until(lambda: requests.get(f"{url}/readyz", timeout=10).status_code == 200)
    assert requests.get(f"{url}/admin/jobs/metrics", timeout=10).status_code == 200


@pytest.fixture
def locked(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[tuple[str, sqlite3.Connection]]:
    """The address of an admin, and another writer's connection to its database."""
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


def test_a_database_that_somebody_holds_is_told_within_two_seconds_and_nothing_is_changed(
    locked: tuple[str, sqlite3.Connection], tmp_path: Path
) -> None:
    url, writer = locked
    pause = f"{url}/admin/jobs/queues/cache-cleanup/pause"
    assert requests.post(pause.replace("pause", "resume"), headers=as_operator(tmp_path), timeout=30).status_code == 200
    writer.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(
            pool.map(lambda _: requests.post(pause, headers=as_operator(tmp_path), timeout=30), range(AT_ONCE))
        )
    for answer in answers:
        assert answer.status_code == 503
        assert "nothing was changed: the audit log cannot be written" in answer.json()["detail"]
        assert answer.elapsed.total_seconds() < 2
    # Who only reads does not notice.
    assert requests.get(f"{url}/admin/jobs/queues/cache-cleanup", timeout=10).json()["isPaused"] is False
    writer.execute("ROLLBACK")
    assert requests.post(pause, headers=as_operator(tmp_path), timeout=30).status_code == 200


@pytest.fixture
def on_postgres(
    tmp_path: Path, redis_url: str, postgres: Postgres, wait_until: Callable[..., None]
) -> Iterator[tuple[str, Postgres]]:
    """The address of an admin that has used its PostgreSQL from all its threads, and that server."""
    postgres.empty()
    ready = tmp_path / "ready"
    settings = {"DATABASE_URL": postgres.url, "NOMAD_TOKEN_KEYS": "c0V5gM7-t1pYQZr4kN8wXb2_LJdHsOaFiUe6mTqGvRn"}
    process = start(tmp_path, redis_url, "--ready-file", str(ready), **settings)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        url = ready.read_text().strip()
        # The first that asks migrates the schema, which may take longer than somebody is kept waiting.
        wait_until(lambda: requests.get(f"{url}/readyz", timeout=10).status_code == 200, timeout_seconds=30)
        with ThreadPoolExecutor(2 * LIMITS.threads) as pool:
            answers = list(
                pool.map(lambda _: requests.get(f"{url}/admin/jobs/audit", timeout=10), range(4 * LIMITS.threads))
            )
        assert {answer.status_code for answer in answers} == {200}
        yield url, postgres
    finally:
        process.terminate()
        process.communicate(timeout=15)


@pytest.mark.slow
def test_a_postgres_that_is_frozen_is_told_within_two_seconds_and_holds_no_thread(
    on_postgres: tuple[str, Postgres], tmp_path: Path
) -> None:
    url, postgres = on_postgres
    pause = "/admin/jobs/queues/cache-cleanup/pause"
    asked = [
        *(("get", path) for path in ("/admin/jobs/audit", "/admin/audit", "/readyz", "/metrics", "/admin/doctor")),
        *(("post", path) for path in (pause, "/admin/jobs/esi/pause", "/admin/jobs/queues/cache-cleanup/clean")),
    ]
    headers = as_operator(tmp_path)

    def ask(method: str, path: str) -> requests.Response:
        return requests.request(method, url + path, headers=headers, timeout=30)

    with postgres.frozen():
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda each: ask(*each), 4 * asked))
        for (method, path), answer in zip(4 * asked, answers, strict=True):
            said = f"{method} {path}: {answer.status_code} after {answer.elapsed}: {answer.text[:300]}"
            assert answer.elapsed.total_seconds() < 2, said
            if path == "/metrics":
                assert 'nomad_collector_success{source="database"} 0.0' in answer.text, said
            else:
                assert answer.status_code == 503, said
                assert path == "/admin/doctor" or "no response in time" in answer.text, said
        # What is refused is refused all the same, and what needs no database does not notice.
        for path, more, status in (
            ("/admin/jobs/queues", {"Host": "evil.example"}, 403),
            ("/healthz", {}, 200),
            ("/admin/jobs/queues/cache-cleanup", {}, 200),
        ):
            answer = requests.get(url + path, headers=more, timeout=30)
            assert (answer.status_code, answer.elapsed.total_seconds() < 2) == (status, True), path
    assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
    assert requests.get(f"{url}/admin/jobs/queues/cache-cleanup", timeout=10).json()["isPaused"] is False
    assert requests.post(url + pause, headers=headers, timeout=10).status_code == 200


def test_a_damaged_database_is_told_and_stops_no_refusal(
    tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    (tmp_path / "nomad.db").write_bytes(random.Random(1).randbytes(20_000))
    ready = tmp_path / "ready"
    process = start(tmp_path, redis_url, "--ready-file", str(ready))
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        url = ready.read_text().strip()
        pause = f"{url}/admin/jobs/queues/cache-cleanup/pause"
        for answer in (
            requests.get(f"{url}/admin/jobs/audit", timeout=10),
            requests.get(f"{url}/readyz", timeout=10),
            requests.post(pause, headers=as_operator(tmp_path), timeout=10),
        ):
            assert answer.status_code == 503, answer.text
            assert "it is not a SQLite database" in answer.text
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
