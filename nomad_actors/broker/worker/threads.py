"""A Worker's threads: replaces dead ones, and warns if there are too few."""

from __future__ import annotations

from collections.abc import Iterable

from dramatiq import Worker

from ..queue_options import QueueOptions
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.threads")


def replace_dead_threads(worker: Worker) -> None:
    """Start a new thread for each dead one, unless the worker is stopping; Dramatiq's Worker does not replace them."""
    dead = [thread for thread in worker.workers if not thread.is_alive() and thread.running]
    for thread in dead:
        logger.critical("worker thread %s died: a new one replaces it", thread.name)
        worker.workers.remove(thread)
        worker._add_worker()


def warn_of_too_few_threads(worker: Worker, served: Iterable[QueueOptions]) -> None:
    """Log a warning if the served queues may run more jobs at a time than there are threads."""
    wanted_threads = sum(options.concurrency for options in served if options.concurrency)
    if wanted_threads > worker.worker_threads:
        logger.warning(
            "only %d threads, but the served queues may run %d jobs at a time", worker.worker_threads, wanted_threads
        )
