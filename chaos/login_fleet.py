"""A fleet of processes that refresh logins at the sandbox's SSO, with their Redis and their database."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nomad_actors.app import App, create_app
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.processes.parent import end_with_parent
from sandbox.clock import SandboxClock
from sandbox.ledger import LedgerEntry
from sandbox.serve import SandboxServer

from .refreshing_process import settings_of
from .scheduler_process import FastClock


class LoginDatabase(Protocol):
    """The database of the fleet."""

    @property
    def url(self) -> str:
        """Its URL."""

    def away(self) -> AbstractContextManager[None]:
        """Let no write succeed during the `with` block."""


@dataclass(frozen=True)
class SqliteFile:
    """A SQLite file; it is away while another program writes."""

    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    @contextmanager
    def away(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield


@dataclass
class Fleet:
    """The sandbox, Redis, the database, and the processes; `killed_mono` is when each process was killed."""

    sandbox: SandboxServer
    redis: LocalRedis
    database: LoginDatabase
    config: dict[str, Any]
    parent: subprocess.Popen[str]
    pids: list[int] = field(default_factory=list)
    killed_mono: dict[int, float] = field(default_factory=dict)

    def start_process(self) -> None:
        """Fork one more process."""
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write("\n")
        self.parent.stdin.flush()
        self.pids.append(int(self.parent.stdout.readline()))

    def kill(self, pid: int) -> None:
        """Kill a process with SIGKILL, and record when."""
        os.kill(pid, signal.SIGKILL)
        self.killed_mono[pid] = time.monotonic()
        self.pids.remove(pid)

    def restart_redis(self, away_seconds: float) -> None:
        """Kill Redis, and start it again after a while."""
        self.redis.kill()
        time.sleep(away_seconds)
        self.redis.start()

    @contextmanager
    def app(self, ahead_seconds: float = 0.0) -> Iterator[App]:
        """An application on the fleet's Redis and database, in this process, with a clock that is ahead."""
        since_ms, at_ms, speed = self.config["clock"]
        clock = FastClock(since_ms, at_ms + ahead_seconds * 1000, speed)
        app = create_app(settings_of(self.config, os.getpid()), clock=clock)
        try:
            yield app
        finally:
            app.close()

    def unexpected_errors(self) -> str:
        """Return the tracebacks of errors that no process should meet."""
        return Path(self.config["directory"], "errors").read_text(errors="replace")


def pid_of(entry: LedgerEntry) -> int:
    """Return the process that sent a request."""
    found = re.match(r"nomad-chaos/(\d+) ", entry.user_agent)
    return int(found[1]) if found else 0


@contextmanager
def run_fleet(processes: int, characters: int, speed: float, database: LoginDatabase | None) -> Iterator[Fleet]:
    """Start everything, with a login of each character; without a database, in a SQLite file.

    Requests, saving and outages take real time, while flights and reservations follow the clock: its `speed` must leave
    them longer than a busy machine needs for a refresh (at 20: 4.5 s and 3 s).
    """
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory, since_ms = Path(name), time.time() * 1000
        clock = SandboxClock(start_s=since_ms / 1000, speed=speed)
        sandbox = stack.enter_context(SandboxServer(seed=17, characters=characters, clock=clock))
        sandbox.parts.refresh_load.limit, sandbox.parts.refresh_load.latency_s = 5, 1.0
        # Not `ends_with_parent`: the thread that starts it again ends before it.
        server = LocalRedis(directory / "redis", append_only=True, appendfsync="always").start()
        stack.callback(server.kill)
        database = database or SqliteFile(directory / "nomad.db")
        config = {
            "redis": server.url,
            "database": database.url,
            "directory": name,
            "sandbox": sandbox.base_url,
            "clock": [since_ms, since_ms, speed],
            "characters": [login["character_id"] for login in sandbox.logins()],
        }
        parent = stack.enter_context(_forking_process(config, directory))
        fleet = Fleet(sandbox, server, database, config, parent)
        with fleet.app() as app:
            app.store.migrate()
            for login in sandbox.logins():
                login.pop("profession")
                app.store.logins.save(**login)
        for _ in range(processes):
            fleet.start_process()
        yield fleet


@contextmanager
def _forking_process(config: dict[str, Any], directory: Path) -> Iterator[subprocess.Popen[str]]:
    with (directory / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos.refreshing_process", json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", (directory / "errors").read_text()
        yield process
    finally:
        # The kernel kills the processes that it has forked.
        process.kill()
        process.communicate()


def random_delay(draw: random.Random) -> float:
    """Return how long after SSO's response to kill the process that gets it, in seconds.

    Mostly while it is on its way or being saved, sometimes while a response is kept because the database is away.
    """
    return draw.choice([0.0, draw.uniform(0.0, 0.003), draw.uniform(0.0, 0.03), draw.uniform(0.6, 2.0)])
