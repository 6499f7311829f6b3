"""Fixtures that every test file may use: a real Redis of the test run's own, emptied before each test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from nomad_actors.local_redis import LocalRedis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """A Redis on a port and in a directory of its own, one a test run."""
    server = LocalRedis(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def redis_client(redis_server: LocalRedis) -> Iterator[redis.Redis]:
    """A client of the test run's Redis, which is empty."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_url(redis_server: LocalRedis, redis_client: redis.Redis) -> str:
    """The URL of the test run's Redis, which is empty."""
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[LocalRedis]:
    """An append-only Redis of this test alone, to be killed and brought back."""
    server = LocalRedis(tmp_path / "redis", append_only=True, appendfsync="always").start()
    yield server
    server.kill()


def wait_until(condition: Callable[[], object], *, timeout_seconds: float = 10.0, what: str = "") -> None:
    """Wait for `condition` to hold; fail the test when it does not within the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"still not so after {timeout_seconds} s: {what or condition}")
        time.sleep(0.005)


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    """`wait_until(condition, timeout_seconds=10, what="")`."""
    return wait_until
