"""What the doctor says of a Redis: as it should be, as it should not, as it keeps to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from nomad_actors.app import QueueAccess
from nomad_actors.clock import SystemClock
from nomad_actors.local_redis import LocalRedis, free_port

from .conftest import Access, found_in

Server = Callable[..., LocalRedis]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """`server("--maxmemory", "10mb")`: a Redis of this test with its own settings."""
    started: list[LocalRedis] = []

    def start(*arguments: str, append_only: bool = False) -> LocalRedis:
        started.append(LocalRedis(tmp_path / f"redis{len(started)}", append_only=append_only))
        return started[-1].start(*arguments)

    yield start
    for each in started:
        each.kill()


def test_a_redis_as_it_should_be(access_to: Access, server: Server) -> None:
    found = found_in(access_to(server(append_only=True).url))
    for name in ("redis", "redis role", "redis eviction", "redis memory", "redis persistence", "clock"):
        assert (found[name].status, found[name].fix) == ("ok", ""), found[name]
    assert found["redis"].found[0].isdigit()


def test_a_redis_that_throws_away_and_writes_nothing(access_to: Access, server: Server) -> None:
    found = found_in(access_to(server("--maxmemory-policy", "allkeys-lru").url))
    assert found["redis eviction"].status == "problem"
    assert found["redis eviction"].fix == "redis-cli CONFIG SET maxmemory-policy noeviction"
    assert found["redis persistence"].status == "problem"
    assert "every job is lost" in found["redis persistence"].found


def test_snapshots_alone_are_a_warning_and_a_failed_one_a_problem(access_to: Access, server: Server) -> None:
    one = server("--save", "60 1000")
    assert found_in(access_to(one.url))["redis persistence"].status == "warning"
    one.directory.joinpath("dump.rdb").mkdir()
    with redis.Redis.from_url(one.url) as client:
        client.set("a", "b")
        with pytest.raises(redis.ResponseError):
            client.save()
        client.bgsave()
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            pass
        if client.info("persistence")["rdb_last_bgsave_status"] == "ok":
            pytest.skip("this Redis replaces a directory by its snapshot")
    assert found_in(access_to(one.url))["redis persistence"].status == "problem"


def test_memory_near_its_limit(access_to: Access, server: Server) -> None:
    one = server("--maxmemory", "20mb")
    access = access_to(one.url)
    assert found_in(access)["redis memory"].status == "ok"
    with redis.Redis.from_url(one.url) as client:
        for i in range(16):
            client.set(f"other{i}", b"." * 1_000_000)
    near = found_in(access)["redis memory"]
    assert (near.status, "no job can be added" in near.found) == ("warning", True)
    assert found_in(access, memory_problem_percent=80)["redis memory"].status == "problem"


def test_what_a_managed_redis_forbids_is_unknown(access_to: Access, server: Server) -> None:
    no_config = server("--rename-command", "CONFIG", "")
    found = found_in(access_to(no_config.url))
    assert (found["redis eviction"].status, found["redis persistence"].status) == ("ok", "unknown")
    nothing = server("--rename-command", "CONFIG", "", "--rename-command", "INFO", "")
    found = found_in(access_to(nothing.url))
    for name in ("redis role", "redis eviction", "redis memory", "redis persistence"):
        assert (found[name].status, "INFO is not allowed here" in found[name].found) == ("unknown", True)
    assert (found["redis"].status, found["clock"].status) == ("ok", "ok")


def test_a_replica_takes_no_jobs(access_to: Access, server: Server) -> None:
    primary = server()
    replica = server("--replicaof", "127.0.0.1", str(primary.port))
    assert found_in(access_to(replica.url))["redis role"].status == "problem"


def test_a_redis_that_is_away(access_to: Access) -> None:
    found = found_in(access_to(f"redis://:s3cret@127.0.0.1:{free_port()}/0"))
    assert found["redis"].status == "problem"
    assert "export REDIS_URL=" in found["redis"].fix
    assert "s3cret" not in found["redis"].found
    assert (found["queues"].status, found["queues"].found) == ("unknown", "Redis does not answer")
    assert found["disk"].status == "ok"


def test_a_redis_that_lets_nobody_in(access_to: Access, server: Server) -> None:
    one = server()
    with redis.Redis.from_url(one.url) as client:
        client.config_set("requirepass", "s3cret")
    found = found_in(access_to(one.url))["redis"]
    assert (found.status, "Authentication required" in found.found) == ("problem", True)


class Ahead(SystemClock):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now_ms(self) -> int:
        return super().now_ms() + int(self.seconds * 1000)


@pytest.mark.parametrize(("seconds", "status"), [(0, "ok"), (3, "warning"), (-3, "warning"), (60, "problem")])
def test_a_clock_that_is_wrong(access: QueueAccess, seconds: float, status: str) -> None:
    found = found_in(access, clock=Ahead(seconds))["clock"]
    assert found.status == status
    assert f"{'ahead of' if seconds >= 0 else 'behind'}" in found.found or seconds == 0
    assert found.fix.startswith("timedatectl") == bool(seconds)
