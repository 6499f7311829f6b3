"""A Worker's threads: are there enough of them, and what takes the place of one that died."""

from __future__ import annotations

from collections.abc import Iterable

from dramatiq import Worker

from ..queue_options import QueueOptions
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.threads")


def replace_dead_threads(worker: Worker) -> None:
    """Start a new thread for each that died, unless the worker stops: Dramatiq's Worker would go on with one less."""
    dead = [thread for thread in worker.workers if not thread.is_alive() and thread.running]
    for thread in dead:
        logger.critical("worker thread %s died: a new one takes its place", thread.name)
        worker.workers.remove(thread)
        worker._add_worker()


def warn_of_unused_places(worker: Worker, served: Iterable[QueueOptions]) -> None:
    """Log that the queues served may run more jobs at a time than there are threads."""
    places = sum(options.concurrency for options in served if options.concurrency)
    if places > worker.worker_threads:
        logger.warning(
            "%d threads for %d places of the queues served: some places stay unused", worker.worker_threads, places
        )
