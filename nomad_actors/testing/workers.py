"""A worker in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dramatiq import Broker, Worker


@contextmanager
def running(broker: Broker, *, threads: int = 8, queues: set[str] | None = None) -> Iterator[Worker]:
    """Run a Dramatiq `Worker` for the time of a `with`, for all the broker's queues or the named ones.

    Dramatiq's `TimeLimit` runs under its command line alone, so it strikes in a `WorkerProcess` only.
    """
    worker = Worker(broker, worker_threads=threads, worker_timeout=100, queues=queues)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(timeout=5_000)
