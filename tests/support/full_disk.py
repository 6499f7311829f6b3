"""A Redis whose disk is full for a while: the kernel stops its files from growing, as a full disk does."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from nomad_actors.processes.local_redis import LocalRedis, find_server


def start(directory: Path) -> LocalRedis:
    """Start an append-only Redis that survives a write that the kernel rejects."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "redis-server"
    program.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec '{find_server()}' \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        return LocalRedis(directory / "data", append_only=True).start()


@contextmanager
def full(server: LocalRedis) -> Iterator[None]:
    """Make a server's disk full during the `with` block; the server has noticed it when the block begins."""
    assert server.process is not None
    pid, limit = server.process.pid, resource.RLIMIT_FSIZE
    before = resource.prlimit(pid, limit)
    with redis.Redis.from_url(server.url) as client:
        resource.prlimit(pid, limit, (1024, before[1]))
        try:
            # The first write fails only after its reply.
            for _ in range(2):
                client.set("filler", b"." * 2048)
        except redis.ResponseError:
            pass
        try:
            yield
        finally:
            resource.prlimit(pid, limit, before)
