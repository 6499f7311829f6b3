"""The queues that a session serves, the jobs that it runs, and the runs that it must still settle."""

from __future__ import annotations

import queue
from collections.abc import Iterable
from typing import cast

from dramatiq import Worker

from ..endings import Outcome
from ..errors import Cancelled
from . import interrupts
from .lease import Lease, Settlement
from .queue_state import QueueState
from .settling import Settling
from .steady_log import get_logger
from .work_queue import WorkQueue

logger = get_logger("nomad_actors.broker.session")


class HeldJobs:
    """The queues and jobs of one session; only the pump changes them, but any thread may add a queue."""

    def __init__(self, worker_id: bytes, name: str, *, threads: int, worker: Worker | None, settling: Settling) -> None:
        self.worker_id, self.name = worker_id, name
        self.threads = threads
        self.worker = worker
        self.work_queue = cast(WorkQueue | None, worker and worker.work_queue)
        self.settling = settling
        #: False after the worker began to stop: it starts no more jobs.
        self.taking = True
        #: How many of the held jobs were running on a worker that was lost.
        self.suspects = 0
        self.by_name: dict[str, QueueState] = {}

    def queues(self) -> tuple[QueueState, ...]:
        """Return the queues that are or were served."""
        # One atomic step: another thread may add a queue while the pump iterates over them.
        return tuple(self.by_name.values())

    def attached(self) -> list[QueueState]:
        return [state for state in self.queues() if state.attached]

    def leases(self) -> list[Lease]:
        return [lease for state in self.queues() for lease in list(state.held.values())]

    def free_threads(self) -> int:
        return self.threads - sum(len(state.held) for state in self.queues())

    def hold(self, state: QueueState, lease: Lease) -> None:
        state.held[lease.token] = lease
        self.suspects += lease.suspect

    def end(self, settlement: Settlement) -> None:
        state = self.by_name[settlement.lease.queue]
        if state.held.get(settlement.lease.token) is settlement.lease:
            # Only once: a run that was released at shutdown may still finish.
            state.held.pop(settlement.lease.token)
            self.settling.add(settlement)
            if settlement.lease.suspect:
                self.suspects -= 1
                for other in self.queues():
                    other.asleep = other.asleep and not other.passed_over

    def release(self, leases: Iterable[Lease]) -> None:
        """Return jobs to their former positions without spending an attempt."""
        for lease in leases:
            self.end(Settlement(lease, Outcome.RELEASED))

    def stop_taking(self) -> None:
        """Start no more jobs, and return those that no thread has begun."""
        self.taking = False
        while self.work_queue is not None:
            try:
                item = self.work_queue.get_nowait()
            except queue.Empty:
                break
            self.work_queue.task_done()
            self.release([item.message.lease])
        for state in self.queues():
            self.return_inbox(state)

    def return_inbox(self, state: QueueState) -> None:
        """Return the jobs that were passed to a queue's consumer and have not begun."""
        while True:
            try:
                message = state.inbox.get_nowait()
            except queue.Empty:
                return
            self.release([message.lease])


def cancel(leases: Iterable[Lease], reason: str) -> None:
    """Interrupt runs that an operator cancels; one that has not begun is cancelled when it begins."""
    for lease in leases:
        if lease.cancel_reason is None:
            lease.cancel_reason = reason
            was_running = interrupts.strike(lease, Cancelled)
            effect = "interrupted" if was_running else "its actor has not begun, or has ended"
            logger.info("cancel requested for job %s of queue %s: %s", lease.job_id, lease.queue, effect)
