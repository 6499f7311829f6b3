"""What a session holds: the queues that it serves, the jobs that it runs, and what ended and is not settled yet."""

from __future__ import annotations

import queue
from collections.abc import Iterable

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
    """The queues and jobs of one session; changed by the pump alone, but for queues, which any thread may add."""

    def __init__(self, *, threads: int, work_queue: WorkQueue | None, settling: Settling) -> None:
        self.threads = threads
        self.work_queue = work_queue
        self.settling = settling
        #: False once the worker stops: no further job starts.
        self.taking = True
        #: How many of the jobs held were present when a worker was lost.
        self.suspects = 0
        self.by_name: dict[str, QueueState] = {}

    def queues(self) -> tuple[QueueState, ...]:
        """Return the queues that are or were served."""
        # One step: a queue may be added by another thread while the pump goes through them.
        return tuple(self.by_name.values())

    def attached(self) -> list[QueueState]:
        """Return the queues that are served."""
        return [state for state in self.queues() if state.attached]

    def leases(self) -> list[Lease]:
        """Return the leases of the jobs that are held."""
        return [lease for state in self.queues() for lease in list(state.held.values())]

    def free_threads(self) -> int:
        """Return how many threads have no job."""
        return self.threads - sum(len(state.held) for state in self.queues())

    def hold(self, state: QueueState, lease: Lease) -> None:
        """Add a job that Redis has leased to us."""
        state.held[lease.token] = lease
        self.suspects += lease.suspect

    def end(self, settlement: Settlement) -> None:
        """Let a job go: its run is over and will be settled."""
        state = self.by_name[settlement.lease.queue]
        if state.held.get(settlement.lease.token) is settlement.lease:
            # Ended once: a run that was released at shutdown may still come to its own end.
            state.held.pop(settlement.lease.token)
            self.settling.add(settlement)
            if settlement.lease.suspect:
                self.suspects -= 1
                self._ask_for_suspects()

    def _ask_for_suspects(self) -> None:
        for state in self.queues():
            if state.passed_over:
                state.asleep = False

    def release(self, leases: Iterable[Lease]) -> None:
        """Give jobs back at their old place, no attempt spent."""
        for lease in leases:
            self.end(Settlement(lease, Outcome.RELEASED))

    def stop_taking(self) -> None:
        """Start no further job, and give back what no thread has begun."""
        self.taking = False
        self._return_work()
        for state in self.queues():
            self.return_inbox(state)

    def return_inbox(self, state: QueueState) -> None:
        """Give back what was handed to a queue's consumer and not begun."""
        while True:
            try:
                message = state.inbox.get_nowait()
            except queue.Empty:
                return
            self.release([message.lease])

    def _return_work(self) -> None:
        while self.work_queue is not None:
            try:
                item = self.work_queue.get_nowait()
            except queue.Empty:
                return
            self.work_queue.task_done()
            self.release([item.message.lease])


def cancel(leases: Iterable[Lease], reason: str) -> None:
    """Interrupt runs that an operator cancels; one that does not run yet learns of it when it begins."""
    for lease in leases:
        if lease.cancel_reason is None:
            lease.cancel_reason = reason
            struck = interrupts.strike(lease, Cancelled)
            how = "interrupted" if struck else "not running yet, or through"
            logger.info("job %s of queue %s is to be cancelled: %s", lease.job_id, lease.queue, how)
