"""The doctor's findings about a Redis: without problems, with problems, and with forbidden commands."""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from nomad_actors.app import QueueAccess, open_queues
from nomad_actors.clock import SystemClock
from nomad_actors.processes.local_redis import LocalRedis, free_port
from nomad_actors.processes.redis_log import complaints
from nomad_actors.settings import Settings
from nomad_actors.settings.redis_urls import redis_cli
from nomad_actors.testing import wait_until
from tests.support import full_disk

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


def test_a_redis_without_problems(access_to: Access, server: Server) -> None:
    found = found_in(access_to(server(append_only=True).url))
    for name in ("redis", "redis role", "redis eviction", "redis memory", "redis persistence", "clock", "redis clock"):
        assert (found[name].severity, found[name].remedy) == ("ok", ""), found[name]
    assert found["redis"].cause[0].isdigit()


def test_a_redis_that_evicts_and_does_not_persist(access_to: Access, server: Server) -> None:
    one = server("--maxmemory-policy", "allkeys-lru")
    found = found_in(access_to(one.url))
    assert found["redis eviction"].severity == "problem"
    fix = found["redis eviction"].remedy
    assert fix.splitlines()[0].endswith(" CONFIG SET maxmemory-policy noeviction")
    assert fix.splitlines()[1] == "and add this to redis.conf for its next start: maxmemory-policy noeviction"
    assert found["redis persistence"].severity == "problem"
    assert "every job is lost" in found["redis persistence"].cause
    fix = found["redis persistence"].remedy
    if shutil.which("redis-cli"):
        # The remedy works as it is printed.
        subprocess.run(fix.partition("\n")[0], shell=True, check=True, capture_output=True)
        assert found_in(access_to(one.url))["redis persistence"].severity == "ok"


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("redis://queues.example:6380/3", "redis-cli -h queues.example -p 6380 -n 3"),
        ("rediss://mira:s3cret@queues.example", "redis-cli -h queues.example -p 6379 --tls --user mira --askpass"),
        ("unix:///run/redis/redis.sock", "redis-cli -s /run/redis/redis.sock"),
        ("unix:///run/redis/redis.sock?db=2", "redis-cli -s /run/redis/redis.sock -n 2"),
        ("redis://queues.example/0", "redis-cli -h queues.example -p 6379"),
    ],
)
def test_redis_cli_is_called_for_the_redis_of_the_settings(url: str, command: str) -> None:
    assert redis_cli(Settings(redis_url=url)) == command


def test_redis_cli_reads_the_address_of_the_own_redis_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "with blank" / "redis" / "url"
    path.parent.mkdir(parents=True)
    path.write_text("redis://:s3cret@127.0.0.1:20001/0\n", encoding="utf-8")
    settings = Settings.from_env({"NOMAD_VAR_DIR": str(tmp_path / "with blank")})
    assert redis_cli(settings) == f"redis-cli -u \"$(cat '{path}')\""


def test_a_redis_that_cannot_write_its_append_only_file(access_to: Access, tmp_path: Path) -> None:
    one = full_disk.start(tmp_path / "redis")
    try:
        access = access_to(one.url)
        assert found_in(access)["redis persistence"].severity == "ok"
        with full_disk.full(one):
            found = found_in(access)
    finally:
        one.kill()
    broken, shop = found["redis persistence"], found["workers"]
    assert (broken.severity, "the last write to the append-only file failed" in broken.cause) == ("problem", True)
    # Workers cannot send heartbeats, so starting another one would not help.
    assert (shop.severity, shop.remedy) == ("problem", "")
    assert "no worker sends heartbeats: Redis accepts no changes" in shop.cause


def test_snapshots_alone_are_a_warning_and_a_failed_one_a_problem(access_to: Access, server: Server) -> None:
    one = server("--save", "60 1000")
    assert found_in(access_to(one.url))["redis persistence"].severity == "warning"
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
    assert found_in(access_to(one.url))["redis persistence"].severity == "problem"


def test_memory_near_its_limit(access_to: Access, server: Server) -> None:
    one = server("--maxmemory", "20mb")
    access = access_to(one.url)
    assert found_in(access)["redis memory"].severity == "ok"
    with redis.Redis.from_url(one.url) as client:
        for i in range(16):
            client.set(f"other{i}", b"." * 1_000_000)
    near = found_in(access)["redis memory"]
    assert (near.severity, "no job can be added" in near.cause) == ("warning", True)
    assert found_in(access, memory_problem_percent=80)["redis memory"].severity == "problem"


def test_what_a_managed_redis_forbids_is_unknown(access_to: Access, server: Server) -> None:
    no_config = server("--rename-command", "CONFIG", "")
    found = found_in(access_to(no_config.url))
    assert (found["redis eviction"].severity, found["redis persistence"].severity) == ("ok", "unknown")
    nothing = server("--rename-command", "CONFIG", "", "--rename-command", "INFO", "")
    found = found_in(access_to(nothing.url))
    for name in ("redis role", "redis eviction", "redis memory", "redis persistence"):
        assert (found[name].severity, "INFO is not allowed here" in found[name].cause) == ("unknown", True)
    assert (found["redis"].severity, found["clock"].severity) == ("ok", "ok")


def test_a_replica_is_a_problem(access_to: Access, server: Server) -> None:
    primary = server()
    replica = server("--replicaof", "127.0.0.1", str(primary.port))
    assert found_in(access_to(replica.url))["redis role"].severity == "problem"


def test_a_redis_that_does_not_answer(access_to: Access) -> None:
    found = found_in(access_to(f"redis://:s3cret@127.0.0.1:{free_port()}/0"))
    assert found["redis"].severity == "problem"
    assert "export REDIS_URL=" in found["redis"].remedy
    assert "s3cret" not in found["redis"].cause
    assert (found["queues"].severity, found["queues"].cause) == (
        "unknown",
        "not checked, because Redis cannot be used now",
    )
    assert found["disk"].severity == "ok"


def test_without_an_address_of_redis_the_doctor_names_the_commands_that_start_one(access_to: Access) -> None:
    access = access_to(f"redis://127.0.0.1:{free_port()}/0")
    fresh = dataclasses.replace(access, settings=dataclasses.replace(access.settings, redis_url_is_given=False))
    command, note = found_in(fresh)["redis"].remedy.splitlines()
    assert (command, note.partition(":")[0]) == ("make run", "or nomad run all")


def test_a_redis_that_denies_access(access_to: Access, server: Server) -> None:
    one = server()
    with redis.Redis.from_url(one.url) as client:
        client.config_set("requirepass", "s3cret")
    found = found_in(access_to(one.url))["redis"]
    assert (found.severity, "Authentication required" in found.cause) == ("problem", True)
    assert "denies access: Redis did not take the command: the password is missing or wrong" in found.cause
    assert found.remedy.startswith("correct the password: REDIS_PASSWORD")


class Ahead(SystemClock):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now_ms(self) -> int:
        return super().now_ms() + int(self.seconds * 1000)


@pytest.mark.parametrize(("seconds", "status"), [(0, "ok"), (3, "warning"), (-3, "warning"), (60, "problem")])
def test_a_clock_that_is_wrong(access: QueueAccess, seconds: float, status: str) -> None:
    found = found_in(access, clock=Ahead(seconds))["clock"]
    assert found.severity == status
    assert f"{'ahead of' if seconds >= 0 else 'behind'}" in found.cause or seconds == 0
    assert found.remedy.startswith("timedatectl") == bool(seconds)


@pytest.mark.parametrize(
    ("user", "status"),
    [
        (("off", "resetkeys", "-@all"), "problem"),
        (("on", "resetkeys", "~nomad:*", "-@all", "+@read"), "problem"),
        (("off", "~*", "&*", "+@all"), "ok"),
    ],
)
def test_a_user_that_would_drop_jobs_at_the_next_restart(
    access_to: Access, server: Server, user: tuple[str, ...], status: str
) -> None:
    one = server(append_only=True)
    with redis.Redis.from_url(one.url) as client:
        if int(str(client.info("server")["redis_version"]).partition(".")[0]) < 7:
            pytest.skip("this Redis replays its file without a user")
        client.acl_setuser("nomad", enabled=True, nopass=True, keys=["*"], channels=["*"], categories=["+@all"])
        client.execute_command("ACL", "SETUSER", "default", *user)
    access = access_to(f"redis://nomad:any@127.0.0.1:{one.port}/0")
    found = found_in(access)["redis persistence"]
    assert found.severity == status
    if status == "problem":
        assert "the next restart drops jobs" in found.cause
        assert "ACL SETUSER default '~*' '&*' +@all" in found.remedy


def test_a_failed_rewrite_of_the_append_only_file_is_a_warning(access_to: Access, tmp_path: Path) -> None:
    one = full_disk.start(tmp_path / "redis")
    try:
        access = access_to(one.url)
        with redis.Redis.from_url(one.url) as client:
            client.set("a", os.urandom(4096))
            # Its child has no room for what is there; it has nothing to write itself.
            assert one.process is not None
            resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
            client.bgrewriteaof()
            wait_until(lambda: client.info("persistence")["aof_last_bgrewrite_status"] == "err")
            resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            # Should it have had something to write all the same: now it can.
            wait_until(lambda: client.info("persistence")["aof_last_write_status"] == "ok")
        found = found_in(access)["redis persistence"]
        assert (found.severity, "the file grows until one succeeds" in found.cause) == ("warning", True), found
    finally:
        one.kill()


def test_a_failed_snapshot_stops_changes_even_with_an_append_only_file(access_to: Access, server: Server) -> None:
    one = server("--save", "60 1000000", append_only=True)
    one.directory.joinpath("dump.rdb").mkdir()
    with redis.Redis.from_url(one.url) as client:
        client.set("a", "b")
        client.bgsave()
        wait_until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
        if client.info("persistence")["rdb_last_bgsave_status"] == "ok":
            pytest.skip("this Redis replaces a directory by its snapshot")
    found = found_in(access_to(one.url))["redis persistence"]
    assert (found.severity, "it accepts no changes until one succeeds" in found.cause) == ("problem", True), found


LOST = "# == CRITICAL == This server is sending an error to its AOF-loading-client: '-NOPERM …' after processing 'exec'"


@pytest.mark.parametrize(
    ("line", "status", "cause"),
    [
        (LOST, "problem", "jobs are lost"),
        (
            "# Bad file format reading the append only file appendonly.aof.1.incr.aof: make a backup",
            "problem",
            "cannot",
        ),
        ("# Can't handle RDB format version 12", "problem", "newer release"),
        ("# !!! Warning: short read while loading the AOF file appendonly.aof.1.incr.aof!!!", "warning", "was cut off"),
        (
            "# Warning: Could not create server TCP listening socket 127.0.0.1:1: bind: Address already in use",
            "problem",
            "port",
        ),
        ("* DB loaded from append only file: 0.001 seconds", "ok", "no complaint"),
    ],
)
@pytest.mark.parametrize("is_given_the_address", [False, True])
def test_problems_in_the_own_redis_log_since_its_last_start(
    tmp_path: Path, redis_url: str, line: str, status: str, cause: str, is_given_the_address: bool
) -> None:
    directory = tmp_path / "var" / "redis"
    directory.mkdir(parents=True)
    (directory / "url").write_text(f"{redis_url}\n", encoding="utf-8")
    start = "1:C 29 Nov 2026 15:19:05.205 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo"
    before = "1:M 29 Nov 2026 15:19:05.205 # Bad file format reading the append only file"
    log = "\n".join([start, before, start.replace("Redis", "Valkey"), f"1:M 29 Nov 2026 {line}"])
    (directory / "redis.log").write_text(log, encoding="utf-8")
    environ = {"NOMAD_VAR_DIR": str(tmp_path / "var"), **({"REDIS_URL": redis_url} if is_given_the_address else {})}
    access = open_queues(Settings.from_env(environ))
    found = found_in(access)["redis log"]
    access.close()
    assert (found.severity, cause in found.cause) == (status, True), found


NO_ROOM = "1:M # Error writing to the AOF file: No space left on device"


@pytest.mark.parametrize(
    ("later", "times"),
    [
        ([], [2]),
        (["1:M * AOF write error looks solved, Redis can write again."], []),
        (["1:M * AOF write error looks solved. The server can write again."], []),
        (["1:M * Background AOF rewrite finished successfully"], []),
        (["1:M * AOF write error looks solved, Redis can write again.", NO_ROOM], [1]),
    ],
)
def test_a_full_disk_is_not_reported_after_the_log_calls_it_solved(later: list[str], times: list[int]) -> None:
    assert [found.lines for found in complaints([NO_ROOM, NO_ROOM, *later])] == times
