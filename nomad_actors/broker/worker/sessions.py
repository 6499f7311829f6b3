"""The sessions of one broker in this process: one for each Worker that runs, and one for consumers outside of any.

Which is meant goes by the thread: a Worker's consumer threads know the queue between them and its worker threads, which
is the session's. A Worker that has stopped is forgotten, and so is each that another process was forked from: what a
consumer of theirs took from Redis no thread would ever run.
"""

from __future__ import annotations

import contextlib
import functools
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
from .threads import replace_dead_threads
from .work_queue import WorkQueue

logger = get_logger("nomad_actors.broker")

MakeSession = Callable[[int, WorkQueue | None, Callable[[], None], Worker | None], Session]


class Sessions:
    """Makes, finds and closes sessions.

    `make` is given how many threads there are, the Worker's queue, what replaces dead threads, and the Worker.
    """

    def __init__(self, make: MakeSession) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._of: dict[WorkQueue | None, Session] = {}

    @property
    def latest(self) -> Session | None:
        """The session that was made last; None when there is none."""
        return next(reversed(list(self._of.values())), None)

    def boot(self, worker: Worker) -> None:
        """Give a Worker that starts its session, and the queue that it hands jobs out by."""
        # The Worker makes its threads and consumers after this, with the queue that it finds here.
        work_queue = WorkQueue()
        worker.work_queue = cast(Any, work_queue)
        replace = functools.partial(replace_dead_threads, worker)
        with self._lock:
            self._of[work_queue] = self._make(worker.worker_threads, work_queue, replace, worker)

    def of_thread(self, *, threads: int) -> Session:
        """Return the session that this thread's consumer belongs to; outside of a Worker one with so many `threads`.

        Raises `WorkerStopped` in a consumer thread of a Worker that has stopped.
        """
        thread = threading.current_thread()
        work_queue = cast(WorkQueue, thread.work_queue) if isinstance(thread, ConsumerThread) else None
        with self._lock:
            if work_queue is not None and work_queue not in self._of:
                raise WorkerStopped("this Worker has stopped: its threads would run none of the jobs that it takes")
            if work_queue not in self._of:
                self._of[None] = self._make(threads, None, lambda: None, None)
            return self._of[work_queue]

    def stop_taking(self, broker: Broker, worker: Worker, shutdown_ms: int | None) -> None:
        """Start nothing more; with `shutdown_ms`, wait that long and give back what then still runs."""
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
            _give_back(session, stuck, shutdown_ms)
            # The Worker would wait for them again, up to ten minutes.
            worker.workers[:] = [thread for thread in worker.workers if thread not in stuck]

    def end(self, worker: Worker) -> None:
        """Close the session of a Worker that has stopped."""
        with self._lock:
            session = self._of.pop(cast(Any, worker.work_queue), None)
        if session is not None:
            session.close()

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            sessions, self._of = list(self._of.values()), {}
        for session in sessions:
            session.close()

    def forget(self) -> None:
        """Forget all of them: they are another process', which this one was forked from."""
        self._lock = threading.Lock()
        self._of = {}


def forget_worker(broker: Broker, worker: Worker | None) -> None:
    """Have a Worker hear of no more queues that are declared; None stands for every Worker.

    Dramatiq's adds a consumer for each, also when it has stopped.
    """
    for each in list(broker.middleware):
        if isinstance(each, _WorkerMiddleware) and worker in (None, each.worker):
            with contextlib.suppress(ValueError):
                broker.middleware.remove(each)


def _give_back(session: Session, stuck: Sequence[threading.Thread], shutdown_ms: int) -> None:
    running = session.running()
    logger.warning("%d jobs still run after %s ms: given back", len(running), shutdown_ms)
    session.release(running)
    for lease in running:
        if lease.thread in stuck:
            strike(lease, Shutdown)
