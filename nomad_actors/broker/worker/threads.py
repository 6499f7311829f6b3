"""Replacing a Worker's thread that died: Dramatiq's Worker would go on with one place less, for good."""

from __future__ import annotations

from dramatiq import Worker

from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.threads")


def replace_dead_threads(worker: Worker) -> None:
    """Start a new thread for each that died, unless the worker stops."""
    dead = [thread for thread in worker.workers if not thread.is_alive() and thread.running]
    for thread in dead:
        logger.critical("worker thread %s died: a new one takes its place", thread.name)
        worker.workers.remove(thread)
        worker._add_worker()
