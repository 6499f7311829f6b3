"""A worker's heartbeats, which name the jobs that it holds, and Redis' replies."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from dramatiq import Worker

from .. import records
from ..client.link import Call
from ..endings import Ended, Outcome
from ..errors import UnreadableBody
from ..redis_clock import ClockReply, boot_seconds
from .held_jobs import HeldJobs, cancel
from .lease import Lease, Settlement
from .message import outcome_unknown, thread_died
from .queue_state import QueueState
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.heartbeat")


class Heartbeats:
    """The heartbeats of one process, one for each queue; used only by the pump."""

    def __init__(self, held: HeldJobs, *, lease_ms: int) -> None:
        self._held = held
        self._lease_ms = lease_ms

    def queues(self) -> list[QueueState]:
        """Return the queues that need heartbeats: those that are served, or still have jobs running here."""
        return [state for state in self._held.queues() if state.attached or state.held]

    def next_mono(self, state: QueueState) -> float:
        return state.next_beat_mono(self._lease_ms / 1000)

    def due(self) -> list[QueueState]:
        """Return the queues whose heartbeat is due; if there are any, also replace dead threads."""
        now = time.monotonic()
        due = [state for state in self.queues() if self.next_mono(state) <= now]
        if due and self._held.taking:
            try:
                self._end_jobs_of_dead_threads()
                if self._held.worker is not None:
                    _replace_dead_threads(self._held.worker)
            except BaseException:
                # Perhaps no thread can be started; the heartbeats must still be sent.
                logger.critical("dead threads could not be replaced", exc_info=True)
        return due

    def call(self, state: QueueState, leaving: set[int]) -> Call:
        """Return the heartbeat that names the held leases and the ended ones, except `leaving`: settled before it.

        Redis recovers any other lease of this worker.
        """
        held = self._held
        ended = [s.lease for s in held.settling if s.lease.queue == state.name]
        arguments: list[bytes | str | int | float] = [held.worker_id, held.name, state.request, self._lease_ms]
        arguments.append(state.clock.evidence())
        for lease in (*state.held.values(), *ended):
            if id(lease) not in leaving:
                arguments += (lease.stored_id, lease.token)
        return Call("heartbeat", state.base, arguments)

    def leave(self) -> list[Call]:
        """Return the calls that remove this worker from its queues."""
        arguments = (self._held.worker_id, self._held.name, "leave")
        return [Call("heartbeat", state.base, arguments) for state in self._held.queues()]

    def replied(self, state: QueueState, sent_boot: float, reply: list[Any]) -> None:
        """Handle the reply to a heartbeat that was sent at `sent_boot` (seconds)."""
        # In the order of the header of ``scripts/heartbeat.lua``.
        now, due, waiting, active, lost, cancelled, recovered, more, clock = reply
        now_ms = float(now)
        ended = [_recovered(state, now_ms, *recovered[i : i + 3]) for i in range(0, len(recovered), 3)]
        _update_clock(state, ClockReply.read(clock), sent_boot)
        state.busy = active > 0
        if more:
            state.beat_mono = 0.0
        state.set_due(now_ms, float(due) if due else None)
        if waiting:
            # This finds the work even if a worker died with the wake token that it had taken.
            state.asleep = False
        for lease in state.held.values():
            if lease.stored_id in lost and not lease.lost:
                lease.lost = True
                logger.warning("job %s of queue %s was recovered: our heartbeats were late", lease.job_id, state.name)
        cancel([lease for lease in state.held.values() if lease.stored_id in cancelled], "asked for by an operator")
        if ended:
            self._held.settling.settled(ended)

    def _end_jobs_of_dead_threads(self) -> None:
        for lease in self._held.leases():
            if lease.thread is not None and not lease.thread.is_alive() and lease.proxy is not None:
                logger.critical("the thread that ran job %s of queue %s died", lease.job_id, lease.queue)
                try:
                    settlement = thread_died(lease.proxy)
                except BaseException:
                    logger.critical("the outcome of job %s is unknown", lease.job_id, exc_info=True)
                    settlement = outcome_unknown(lease.proxy)
                self._held.end(settlement)


def _replace_dead_threads(worker: Worker) -> None:
    """Start a new thread for each dead one, unless the worker is stopping; Dramatiq's Worker does not replace them."""
    dead = [thread for thread in worker.workers if not thread.is_alive() and thread.running]
    for thread in dead:
        logger.critical("worker thread %s died: a new one replaces it", thread.name)
        worker.workers.remove(thread)
        worker._add_worker()


def _update_clock(state: QueueState, reply: ClockReply, sent: float) -> None:
    """Update the queue's clock, and log a step of Redis' clock that this heartbeat corrected."""
    if reply.set_by_ms:
        logger.error(
            "Redis' clock stepped by %+.0f s: delayed jobs and leases of queue %s continue by the workers' own clocks",
            reply.set_by_ms / 1000,
            state.name,
        )
    state.clock_in_doubt = state.clock.update(reply, sent, boot_seconds())
    if state.clock.certain:
        state.beat_mono = 0.0


def _recovered(state: QueueState, now_ms: float, stored_id: bytes, outcome: bytes, value: bytes) -> Ended:
    header, body = records.unpack_head(value)
    started_ms = records.instant(header.started_ms)
    lease = Lease(state.name, stored_id, records.unpack_id(stored_id), b"", started_ms, header, value[body])
    with contextlib.suppress(UnreadableBody):
        lease.message = records.unpack_body(state.name, lease.job_id, header, lease.body)
    crash = f" (crash {header.crashes})" if header.crashes else ""
    run_ms = max(0.0, now_ms - started_ms)
    settlement = Settlement(lease, Outcome(outcome.decode()), error_text=f"lost its worker{crash}", run_ms=run_ms)
    logger.warning("job %s of queue %s lost its worker: %s", lease.job_id, state.name, settlement.outcome)
    return settlement.to_ended(now_ms)
