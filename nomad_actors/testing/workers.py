"""A worker in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dramatiq import Broker, Worker


@contextmanager
def running(broker: Broker, *, threads: int = 8, queues: set[str] | None = None) -> Iterator[Worker]:
    """Run a Dramatiq `Worker` during a `with` block, for all queues of the broker or the named ones.

    Dramatiq's `TimeLimit` works only under its command line and in a `WorkerProcess`.
    """
    worker = Worker(broker, worker_threads=threads, worker_timeout=100, queues=queues)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(timeout=5_000)
