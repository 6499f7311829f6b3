"""An application on a Redis: filled with all data that must survive, read again, and compared."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis

from chaos import kept_state, keyspace
from chaos.kept_jobs import KEPT, KEPT_PAUSED
from nomad_actors.app import QueueAccess, open_queues
from nomad_actors.jobs import SCHEDULES
from nomad_actors.scheduler import Schedules
from nomad_actors.settings import Settings
from nomad_actors.testing import running

MODULES = {
    "NOMAD_MODULES": "chaos.kept_jobs",
    "NOMAD_KEEP_COMPLETED_KEPT": "3/1h",
    "NOMAD_SHUTDOWN_MS": "1000",
    "ESI_USER_AGENT": "nomad-tests/1 (tests@example.com)",
}


@contextlib.contextmanager
def opened(url: str) -> Iterator[QueueAccess]:
    """Yield the application's queues on a Redis."""
    access = open_queues(Settings.from_env({"REDIS_URL": url, **MODULES}))
    try:
        yield access
    finally:
        access.close()


def fill(url: str, first: int) -> None:
    """Add jobs that end in every state, with a worker of this process."""
    with opened(url) as access:
        schedules = Schedules(access.queues)
        schedules.declare(SCHEDULES)
        with running(access.broker, queues={KEPT.queue, KEPT_PAUSED.queue}):
            kept_state.fill(access.queues, schedules, first)


@dataclass(frozen=True)
class Contents:
    """The contents of a Redis: every key, and what users see of it."""

    keys: keyspace.Keyspace
    seen: dict[str, object] = field(default_factory=dict)

    def differences(self, later: Contents) -> list[str]:
        """Return what has changed in a later snapshot."""
        return self.keys.differences(later.keys) + kept_state.public_differences(self.seen, later.seen)


def contents(url: str) -> Contents:
    """Read everything."""
    with opened(url) as access, redis.Redis.from_url(url) as client:
        seen = kept_state.view(access.queues, Schedules(access.queues))
        return Contents(keyspace.read(client), seen)


def errors_in(log: Path) -> str:
    """Return the lines of a Redis log that report a loss."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(line for line in lines if "AOF-loading-client" in line or "Bad file format" in line)
