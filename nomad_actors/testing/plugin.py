"""Fixtures for pytest, available wherever this package is installed; every name begins with `nomad_`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# The fixtures import the rest when they need it: pytest loads this file in every run, even if none is used.
if TYPE_CHECKING:
    import redis

    from ..clock import ManualClock
    from ..processes.local_redis import LocalRedis
    from .fault_proxy import FaultProxy
    from .workers import WorkerProcess

#: 2026-01-01T00:00:00Z
START_OF_CLOCK_MS = 1_767_225_600_000


@pytest.fixture(scope="session")
def nomad_redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """One private Redis per test run, with its own port and directory; skips the test if no server is installed."""
    from ..processes.local_redis import LocalRedis

    server = _started(LocalRedis(tmp_path_factory.mktemp("redis")))
    yield server
    server.stop()


@pytest.fixture
def nomad_redis(nomad_redis_server: LocalRedis) -> Iterator[redis.Redis]:
    """A client of the test run's Redis, which is emptied first."""
    import redis

    with redis.Redis.from_url(nomad_redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def nomad_redis_url(nomad_redis_server: LocalRedis, nomad_redis: redis.Redis) -> str:
    """The URL of the test run's Redis, which is emptied first."""
    return nomad_redis_server.url


@pytest.fixture
def nomad_own_redis(tmp_path: Path) -> Iterator[LocalRedis]:
    """A Redis for this test only that writes every change to disk, to be killed and restarted."""
    from ..processes.local_redis import LocalRedis

    server = _started(LocalRedis(tmp_path / "redis", append_only=True, appendfsync="always"))
    yield server
    server.kill()


@pytest.fixture
def nomad_fault_proxy(nomad_redis_server: LocalRedis, nomad_redis: redis.Redis) -> Iterator[FaultProxy]:
    """A proxy to the test run's empty Redis that cuts the connection before or after chosen commands."""
    from .fault_proxy import FaultProxy

    proxy = FaultProxy(nomad_redis_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def nomad_clock() -> ManualClock:
    """A clock that shows the beginning of 2026 until it is moved."""
    from ..clock import ManualClock

    return ManualClock(START_OF_CLOCK_MS)


@pytest.fixture
def nomad_worker_process() -> Iterator[Callable[..., WorkerProcess]]:
    """`nomad_worker_process("module:broker", threads=8, environ=…, directory=…)`: started, killed after the test."""
    from .workers import WorkerProcess

    processes: list[WorkerProcess] = []

    def start(target: str, **arguments: Any) -> WorkerProcess:
        processes.append(WorkerProcess(target, **arguments))
        return processes[-1].start()

    yield start
    for process in processes:
        process.close()


def _started(server: LocalRedis) -> LocalRedis:
    from ..errors import CannotStart
    from ..processes.local_redis import find_server

    try:
        find_server()
    except CannotStart as missing:
        pytest.skip(str(missing))
    return server.start()
