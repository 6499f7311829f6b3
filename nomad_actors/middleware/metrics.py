"""Counts enqueued jobs, times runs, and serves a worker's metrics to Prometheus.

The outcomes of runs are counted in Redis, by the scripts that settle them (`health.queue_families`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

from dramatiq import Actor, Broker, Message, Middleware, Worker
from prometheus_client import Counter

from ..broker.endings import Ended, Outcome
from ..broker.records.stats import UNKNOWN_ACTOR
from ..metrics import definitions
from ..metrics.server import LOOPBACK, MetricsServer, serve_or_log

#: The default metrics port of a host's first worker.
WORKERS_PORT: Final = 9191

#: Outcomes of runs that start again from their old position in the queue: their wait is not counted.
_UNSTARTED = frozenset({Outcome.RELEASED, Outcome.RECOVERED})


class _Series:
    """One actor's series on one queue, looked up once: a lookup by label costs as much as a small job."""

    __slots__ = ("duration", "enqueued", "wait")

    def __init__(self, queue: str, actor: str) -> None:
        self.enqueued: Counter = definitions.JOBS_ENQUEUED.labels(queue, actor)
        self.duration: definitions.BatchHistogram = definitions.JOB_DURATION_SECONDS.labels(queue, actor)
        self.wait: definitions.BatchHistogram = definitions.JOB_WAIT_SECONDS.labels(queue, actor)

    def observe(self, endings: Sequence[Ended]) -> None:
        self.wait.observe_all([ended.wait_ms / 1000 for ended in endings if ended.outcome not in _UNSTARTED])
        self.duration.observe_all([ended.run_ms / 1000 for ended in endings if ended.outcome == Outcome.COMPLETED])


class Metrics(Middleware):
    """Counts enqueued jobs, times runs, and serves a worker's metrics on `port` or the next free one (0: any)."""

    def __init__(self, *, port: int | None = None, host: str = LOOPBACK, hosts: Sequence[str] = ()) -> None:
        self._host = host
        self._hosts = hosts
        self._port = WORKERS_PORT if port is None else port
        self._series = functools.cache(_Series)
        self._server: MetricsServer | None = None

    @property
    def port(self) -> int | None:
        """The port that serves a worker's metrics; None if they are not served."""
        return self._server.port if self._server else None

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
        # The series of unknown actors start at zero, like those of each actor.
        self._series(queue_name, UNKNOWN_ACTOR)

    def after_declare_actor(self, broker: Broker, actor: Actor[Any, Any]) -> None:
        # At zero: a counter whose first value is 1 shows no increase.
        self._series(actor.queue_name, actor.actor_name)

    def after_enqueue(self, broker: Broker, message: Message[Any], delay: int) -> None:
        # Dramatiq also enqueues retries, which are not new jobs.
        if "retries" in message.options:
            return
        self._series_of(broker, message.queue_name, message.actor_name).enqueued.inc()

    def after_settle(self, broker: Broker, endings: Sequence[Ended]) -> None:
        by_actor: dict[tuple[str, str], list[Ended]] = {}
        for ended in endings:
            by_actor.setdefault((ended.queue, ended.actor), []).append(ended)
        for (queue, actor), actor_endings in by_actor.items():
            self._series_of(broker, queue, actor).observe(actor_endings)

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        # Only in the processes that run jobs: the main process has no metrics.
        self._server = serve_or_log(self._port, definitions.REGISTRY, self._host, service="workers", hosts=self._hosts)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _series_of(self, broker: Broker, queue: str, actor: str) -> _Series:
        return self._series(queue, actor if actor in broker.actors else UNKNOWN_ACTOR)
