"""The admin under slow clients, directly and behind the documented nginx: other clients are answered."""

from __future__ import annotations

import os
import random
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.settings.admin_tokens import token_entry

from .http_attacks import KINDS
from .nginx import NAME, nginx, program

PATHS = ("/healthz", "/admin/login")
#: Prometheus gives up after this time.
ANSWER_SECONDS = 10.0
GROWTH_BYTES = 150 * 1024 * 1024
FILES = 5_500


@dataclass
class Target:
    """An address of the admin."""

    port: int
    tls: bool

    def ask(self, path: str) -> float | None:
        """Return the seconds until the response, None without a good one in time."""
        began = time.monotonic()
        request = f"GET {path} HTTP/1.1\r\nHost: {NAME if self.tls else 'localhost'}\r\nConnection: close\r\n\r\n"
        try:
            with ExitStack() as stack:
                client = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS))
                if self.tls:
                    client = stack.enter_context(ssl._create_unverified_context().wrap_socket(client))
                client.sendall(request.encode())
                response = client.recv(100)
        except OSError:
            return None
        return time.monotonic() - began if b" 200 " in response else None


@dataclass
class Measured:
    """Response times of a legitimate client, and what the attack cost the admin."""

    kind: str
    route: str
    waits: list[float | None] = field(default_factory=list)
    growth_bytes: int = 0
    files: int = 0

    def __str__(self) -> str:
        answered = [wait for wait in self.waits if wait is not None]
        share = 100 * len(answered) / max(1, len(self.waits))
        median_ms, worst_ms = 1000 * statistics.median(answered or [0]), 1000 * max(answered, default=0)
        return (
            f"{self.kind} {self.route}: {share:.0f} % of {len(self.waits)} answered, median {median_ms:.0f} ms, "
            f"worst {worst_ms:.0f} ms, +{self.growth_bytes / 2**20:.0f} MiB, {self.files} files"
        )

    def check(self) -> None:
        """Raise `AssertionError` if the attack kept others out or cost too much."""
        assert None not in self.waits, str(self)
        assert self.growth_bytes < GROWTH_BYTES, str(self)
        assert self.files < FILES, str(self)


def slow_clients(draw: random.Random, seconds: float) -> str:
    """Attack the admin in each way, directly and behind nginx, and send it requests meanwhile."""
    measured = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = LocalRedis(directory / "redis").start()
        stack.callback(server.stop)
        process, port = stack.enter_context(_admin(directory, server.url))
        targets = {"directly": Target(port, tls=False)}
        if program() is not None:
            targets["behind nginx"] = Target(stack.enter_context(nginx(directory, port)), tls=True)
        for kind in KINDS:
            for route, target in targets.items():
                result = Measured(kind, route)
                _measure(result, process, target, seconds / len(KINDS), share=min(1.0, seconds / 30))
                result.check()
                measured.append(result)
    return "; ".join(map(str, measured))


def _measure(result: Measured, process: psutil.Process, target: Target, seconds: float, *, share: float) -> None:
    assert _wait_for_answer(target), f"{result.route}: no answer before the attack"
    before = process.memory_info().rss
    arguments = [result.kind, "127.0.0.1", str(target.port), "tls" if target.tls else "plain", str(share)]
    attack = subprocess.Popen(
        [sys.executable, "-m", "chaos.http_attacks", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
    )
    try:
        assert attack.stdout is not None
        assert attack.stdout.readline() == b"started\n", f"{result.kind}: the attack did not start"
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            result.waits += [target.ask(path) for path in PATHS]
            result.growth_bytes = max(result.growth_bytes, process.memory_info().rss - before)
            result.files = max(result.files, process.num_fds())
            time.sleep(0.05)
    finally:
        attack.kill()
        attack.communicate()


def _wait_for_answer(target: Target) -> bool:
    deadline = time.monotonic() + 20
    while target.ask(PATHS[0]) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def _admin(directory: Path, redis_url: str) -> Iterator[tuple[psutil.Process, int]]:
    ready = directory / "ready"
    environ = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": redis_url,
        "NOMAD_VAR_DIR": str(directory / "var"),
        "DATABASE_URL": f"sqlite:///{directory}/nomad.db",
        "ADMIN_PORT": "0",
        "NOMAD_ADMIN_HOSTS": NAME,
        "NOMAD_ADMIN_TOKENS": token_entry("vera", "viewer", "v" * 43).entry,
    }
    admin = subprocess.Popen(
        [sys.executable, "-m", "admin", "--ready-file", str(ready)],
        env=environ,
        stderr=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
    )
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert admin.poll() is None, "the admin did not start"
            assert time.monotonic() < deadline, "the admin did not start in time"
            time.sleep(0.05)
        yield psutil.Process(admin.pid), int(ready.read_text().strip().rpartition(":")[2])
    finally:
        admin.terminate()
        admin.wait(timeout=30)
