"""The sessions of one broker in this process: one for each running Worker, and one for consumers outside a Worker.

The thread determines the session: a Worker's consumer threads have the work queue between them and its worker threads,
and a session belongs to it. Stopped Workers, and those of a process that this one was forked from, are forgotten: no
thread would ever run the jobs that their consumers take from Redis.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from dramatiq import Broker, Worker
from dramatiq.middleware import Shutdown
from dramatiq.worker import ConsumerThread, _WorkerMiddleware

from ..errors import WorkerStopped
from .interrupts import strike
from .session import Session
from .steady_log import get_logger
from .work_queue import WorkQueue

logger = get_logger("nomad_actors.broker")

MakeSession = Callable[[Worker | None, int], Session]


class Sessions:
    """Creates, finds and closes sessions; `make` gets the Worker and the number of threads."""

    def __init__(self, make: MakeSession) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._of: dict[WorkQueue | None, Session] = {}

    @property
    def latest(self) -> Session | None:
        """The session that was created last; None if there is none."""
        return next(reversed(list(self._of.values())), None)

    def boot(self, worker: Worker) -> None:
        """Create the session and the work queue of a Worker that starts."""
        # After this the Worker creates its threads and consumers, with this queue.
        work_queue = WorkQueue()
        worker.work_queue = cast(Any, work_queue)
        with self._lock:
            self._of[work_queue] = self._make(worker, worker.worker_threads)

    def of_thread(self, *, threads: int) -> Session:
        """Return the session of this thread's consumer; outside a Worker it is one with this number of `threads`.

        Raises `WorkerStopped` in a consumer thread of a Worker that has stopped.
        """
        thread = threading.current_thread()
        work_queue = cast(WorkQueue, thread.work_queue) if isinstance(thread, ConsumerThread) else None
        with self._lock:
            if work_queue is not None and work_queue not in self._of:
                raise WorkerStopped("this Worker has stopped: its threads would run none of the jobs that it takes")
            if work_queue not in self._of:
                self._of[None] = self._make(None, threads)
            return self._of[work_queue]

    def stop_taking(self, broker: Broker, worker: Worker, shutdown_ms: int | None) -> None:
        """Start no more jobs; with `shutdown_ms`, wait that long and then return the running jobs to their queues."""
        forget_worker(broker, worker)
        session = self._of.get(cast(Any, worker.work_queue))
        if session is None:
            return
        session.stop_taking()
        if shutdown_ms is None:
            return
        deadline = time.monotonic() + shutdown_ms / 1000
        for thread in worker.workers:
            thread.stop()
        for thread in worker.workers:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [thread for thread in worker.workers if thread.is_alive()]
        if stuck:
            _release_running(session, stuck, shutdown_ms)
            # The Worker would wait once more for these threads, up to ten minutes.
            worker.workers[:] = [thread for thread in worker.workers if thread not in stuck]

    def end(self, worker: Worker) -> None:
        with self._lock:
            session = self._of.pop(cast(Any, worker.work_queue), None)
        if session is not None:
            session.close()

    def close(self) -> None:
        with self._lock:
            sessions, self._of = list(self._of.values()), {}
        for session in sessions:
            session.close()

    def forget(self) -> None:
        """Forget all sessions after a fork: they belong to the parent process."""
        self._lock = threading.Lock()
        self._of = {}


def forget_worker(broker: Broker, worker: Worker | None) -> None:
    """Keep a Worker (None: all Workers) from noticing newly declared queues.

    Dramatiq's Worker adds a consumer for each, even after it has stopped.
    """
    for each in list(broker.middleware):
        if isinstance(each, _WorkerMiddleware) and worker in (None, each.worker):
            with contextlib.suppress(ValueError):
                broker.middleware.remove(each)


def _release_running(session: Session, stuck: Sequence[threading.Thread], shutdown_ms: int) -> None:
    running = session.running()
    logger.warning("%d jobs still run after %s ms: they return to their queues", len(running), shutdown_ms)
    session.release(running)
    for lease in running:
        if lease.thread in stuck:
            strike(lease, Shutdown)
