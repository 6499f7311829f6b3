"""The compared systems, each configured as its users would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from nomad_actors import logs
from nomad_actors.broker import JobBroker
from nomad_actors.middleware.job_log import JobLog
from nomad_actors.middleware.metrics import Metrics
from nomad_actors.middleware.order import middleware_for
from nomad_actors.settings import Settings

#: Jobs that run at the same time in every system.
THREADS = 8


@dataclass(frozen=True)
class System:
    """One system: its name and its environment variables."""

    name: str
    environ: Mapping[str, str] = field(default_factory=dict)


OURS = System("nomad-actors")
STOCK = System("dramatiq")
TUNED = System("dramatiq, prefetch 64", {"dramatiq_queue_prefetch": "64"})
SYSTEMS = (OURS, STOCK, TUNED)
#: Our system without metrics and log line, to measure their cost.
UNWATCHED = System("nomad-actors, unwatched")


def make_broker(system: str, url: str, lines: IO[str]) -> dramatiq.Broker:
    """Return the system's broker; ours with its log line (to `lines`) and metrics, the others with their defaults."""
    if system not in (OURS.name, UNWATCHED.name):
        return RedisBroker(url=url)
    settings = Settings(redis_url=url, metrics_port=0)
    logs.configure(settings.log_format, settings.log_level, lines)
    watching = (Metrics, JobLog) if system == UNWATCHED.name else ()
    return JobBroker(url=url, middleware=[m for m in middleware_for(settings) if not isinstance(m, watching)])
