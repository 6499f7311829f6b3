"""The Redis that `nomad run all` starts: later programs find it, and never mistake another one for it."""

from __future__ import annotations

import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from nomad_actors.app import open_queues
from nomad_actors.cli import app
from nomad_actors.errors import SettingsError, Unavailable
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.processes.own_redis import RunsAlready, own_redis
from nomad_actors.settings import OWN_REDIS, Settings
from nomad_actors.settings.redis_urls import redis_cli


@pytest.fixture
def own(tmp_path: Path) -> Iterator[LocalRedis]:
    """The own Redis of a directory, running."""
    server = own_redis(tmp_path).start()
    yield server
    server.kill()


def settings(directory: Path, **environ: str) -> Settings:
    return Settings.from_env({"NOMAD_VAR_DIR": str(directory), **environ})


def test_settings_use_it_by_default(tmp_path: Path, own: LocalRedis) -> None:
    found = settings(tmp_path)
    assert (found.redis_url, found.redis_url_file) == (own.url, tmp_path / OWN_REDIS)
    access = open_queues(found)
    access.broker.ping()
    access.close()
    elsewhere = settings(tmp_path, REDIS_HOST="queues.example")
    assert (elsewhere.redis_url, elsewhere.redis_url_file) == ("redis://queues.example:6379/0", None)


def test_settings_recognise_its_address(tmp_path: Path) -> None:
    address = "redis://nomad:some@127.0.0.1:20001/0"
    (tmp_path / OWN_REDIS).parent.mkdir()
    (tmp_path / OWN_REDIS).write_text(f"{address}\n", encoding="utf-8")
    assert settings(tmp_path, REDIS_URL=address).redis_url_file == tmp_path / OWN_REDIS
    assert settings(tmp_path, REDIS_URL="redis://127.0.0.1:20001/0").redis_url_file is None


def test_it_runs_in_the_default_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = own_redis(Settings().var_dir).start()
    try:
        assert (tmp_path / "var" / "redis" / "redis.log").exists()
        assert Settings.from_env({}).redis_url == server.url
    finally:
        server.kill()


def test_no_one_else_can_read_its_password_and_no_process_shows_it(tmp_path: Path, own: LocalRedis) -> None:
    assert stat.S_IMODE((tmp_path / OWN_REDIS).stat().st_mode) == 0o600
    assert own.process is not None
    assert len(own.password) > 20
    assert own.password not in Path(f"/proc/{own.process.pid}/cmdline").read_text(encoding="utf-8")
    if shutil.which("redis-cli"):
        typed = f"{redis_cli(settings(tmp_path))} --no-auth-warning PING"
        assert subprocess.run(typed, shell=True, check=True, capture_output=True).stdout == b"PONG\n"
    with redis.Redis(port=own.port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_its_address_is_permanent_and_it_keeps_its_data(tmp_path: Path, own: LocalRedis) -> None:
    with redis.Redis.from_url(own.url) as client:
        client.set("kept", "yes")
    own.stop()
    second = own_redis(tmp_path)
    assert second.url == own.url
    second.start()
    try:
        with redis.Redis.from_url(settings(tmp_path).redis_url) as client:
            assert client.get("kept") == b"yes"
    finally:
        second.kill()


def test_a_second_system_does_not_start_next_to_the_first(
    tmp_path: Path, own: LocalRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomad_actors.processes.own_redis.GOING_DOWN_SECONDS", 0.1)
    with pytest.raises(RunsAlready, match=f"is already running, on port {own.port}: stop the system that uses it"):
        own_redis(tmp_path)


def test_another_redis_on_its_port_is_not_mistaken_for_it(
    tmp_path: Path, own: LocalRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.stop()
    other = LocalRedis(tmp_path / "other", port=own.port).start()
    try:
        access = open_queues(settings(tmp_path), caller_deadline_ms=1000)
        with pytest.raises(Unavailable, match="the password is missing or wrong"):
            access.broker.ping()
        access.close()
        # Nor by a client with the newer handshake.
        with redis.Redis.from_url(own.url, protocol=3) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        monkeypatch.setenv("NOMAD_VAR_DIR", str(tmp_path))
        monkeypatch.delenv("REDIS_URL", raising=False)
        result = CliRunner().invoke(app, ["doctor"])
        assert f"another Redis has its port now; this starts the Redis that {tmp_path / OWN_REDIS} is" in result.stdout
        assert own.password not in result.output
        # After a restart it uses another port, and is found there.
        second = own_redis(tmp_path)
        assert second.port != own.port
        assert settings(tmp_path).redis_url == second.url
    finally:
        other.kill()


def test_the_error_while_it_is_stopped_contains_its_address(
    tmp_path: Path, own: LocalRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.stop()
    monkeypatch.setenv("NOMAD_VAR_DIR", str(tmp_path))
    monkeypatch.delenv("REDIS_URL", raising=False)
    result = CliRunner().invoke(app, ["doctor"])
    lines = [line.strip() for line in result.stdout.splitlines()]
    at = lines.index("→ make run")
    assert lines[at + 1].startswith(f"starts the Redis that {tmp_path / OWN_REDIS} is the address of")
    (unmade,) = [line for line in lines if "because Redis cannot be used now" in line]
    assert unmade.startswith("unknown 9 checks ")


def test_settings_know_whether_an_address_was_given(tmp_path: Path) -> None:
    assert not settings(tmp_path).redis_url_is_given
    assert settings(tmp_path, REDIS_URL="redis://localhost:6379/0").redis_url_is_given
    assert settings(tmp_path, REDIS_HOST="localhost").redis_url_is_given
    (tmp_path / OWN_REDIS).parent.mkdir()
    (tmp_path / OWN_REDIS).write_text("redis://localhost:6379/0\n", encoding="utf-8")
    assert settings(tmp_path).redis_url_is_given


def test_a_file_without_an_address_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / OWN_REDIS
    path.parent.mkdir()
    path.write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="its content is not a valid URL"):
        settings(tmp_path)
    assert settings(tmp_path, REDIS_URL="redis://a").redis_url == "redis://a"


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1/x", "redis://127.0.0.1/0/1", "rediss://a:1/-1", "redis://a/1234567"]
)
def test_a_url_with_an_invalid_database_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL is "):
        Settings.from_env({"REDIS_URL": url})
    with pytest.raises(SettingsError, match="REDIS_CACHE_URL is "):
        Settings.from_env({"REDIS_CACHE_URL": url})


def test_a_readiness_check_ends_after_two_seconds(tmp_path: Path) -> None:
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        for reply in (b"+OK\r\n", b"$9\r\nloading:0\r\n", b"+PONG\r\n"):
            if ended.wait(1.5):
                break
            connection.sendall(reply)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        server = LocalRedis(tmp_path, port=listener.getsockname()[1], password="secret")
        began = time.monotonic()
        state = server.readiness(1)
        seconds = time.monotonic() - began
        ended.set()
        thread.join(5)
    assert not state.ready
    assert seconds < 3
