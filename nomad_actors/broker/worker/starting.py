"""Requests jobs from a session's queues, and passes the leased ones to threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ...logs.foreign_text import describe_error
from .. import keys, records
from ..client.link import Call, Link
from ..errors import UnreadableBody
from .held_jobs import HeldJobs
from .lease import Lease
from .message import cannot_run, read, unknown_actor
from .queue_state import QueueState
from .steady_log import get_logger
from .work_queue import WorkItem

logger = get_logger("nomad_actors.broker.session")

#: At most this many jobs in one request.
MAX_REQUEST = 500


class Request(NamedTuple):
    """A request for up to `free` jobs of a queue, of which `suspects` may be suspects (`Starting.requests`)."""

    queue: QueueState
    free: int
    suspects: int


class Starting:
    """Requests jobs and passes them to threads; used only by the pump."""

    def __init__(
        self, held: HeldJobs, link: Link, *, knows_actor: Callable[[str], bool], report: Callable[[Lease], None]
    ) -> None:
        self._held = held
        self._link = link
        self._knows_actor = knows_actor
        self._report = report
        self._turn = 0

    def can_ask(self, now: float) -> bool:
        """Return True if a thread is free and a queue has a free slot and perhaps jobs."""
        return self._held.free_threads() > 0 and bool(self._requesting(now))

    def _requesting(self, now: float) -> list[QueueState]:
        return [state for state in self._held.queues() if self._held.taking and state.can_request(now)]

    def requests(self) -> list[Request]:
        """Return the requests for jobs; each job needs a free slot of its queue and a free thread.

        A suspect is a job that was running on a worker that was lost. A session runs at most one at a time, so that the
        next lost worker shows which of them kills workers.
        """
        free_slots = self._free_slots()
        if self._held.suspects:
            return [Request(state, free, 0) for state, free in free_slots]
        self._turn += 1
        names = [state.name for state, _ in free_slots if state.passed_over] or [state.name for state, _ in free_slots]
        chosen = names[self._turn % len(names)] if names else ""
        return [Request(state, free, int(state.name == chosen)) for state, free in free_slots]

    def _free_slots(self) -> list[tuple[QueueState, int]]:
        requesting = self._requesting(time.monotonic())
        threads = self._held.free_threads()
        if threads <= 0 or not requesting:
            return []
        if len(requesting) > 1 and sum(state.free for state in requesting) > threads:
            requesting = self._most_urgent_first(requesting)
        free_slots = []
        for state in requesting:
            free = min(state.free, threads, MAX_REQUEST)
            if free > 0:
                free_slots.append((state, free))
                threads -= free
        return free_slots

    def _most_urgent_first(self, requesting: list[QueueState]) -> list[QueueState]:
        """Sort queues by the job that would start next, because there are too few threads for all."""
        replies = self._link.run([Call("peek", state.base) for state in requesting])
        scores = {
            state.name: float(reply)
            for state, reply in zip(requesting, replies, strict=True)
            if reply and not isinstance(reply, Exception)
        }
        self._turn += 1
        rotated = requesting[self._turn % len(requesting) :] + requesting[: self._turn % len(requesting)]
        # Queues of equal priority take turns; one without waiting jobs comes last, for its due delayed jobs.
        return sorted(rotated, key=lambda q: scores[q.name] // keys.PRIORITY_STEP if q.name in scores else 1e9)

    def call(self, request: Request) -> Call:
        state, free, suspects = request
        worker_id, name, evidence = self._held.worker_id, self._held.name, state.clock.evidence()
        return Call("start", state.base, (worker_id, state.next_request(), free, name, suspects, evidence))

    def replied(self, request: Request, reply: list[Any]) -> None:
        """Pass the jobs of a reply to threads."""
        state = request.queue
        state.request = state.next_request()
        redis_now = float(reply[0])
        state.set_due(redis_now, float(reply[1]) if reply[1] else None)
        state.passed_over = int(reply[2])
        taken = 0
        for i in range(3, len(reply), 4):
            lease = self._lease(state, reply[i], reply[i + 1], int(reply[i + 2]), redis_now)
            self._held.hold(state, lease)
            self._hand_out_or_end(state, lease)
            taken += 1
        state.asleep = taken < request.free

    def _lease(self, state: QueueState, stored_id: bytes, value: bytes, number: int, now_ms: float) -> Lease:
        token = records.TOKEN.pack(self._held.worker_id, state.request, number)
        job_id = records.unpack_id(stored_id)
        try:
            header, body = records.unpack_head(value)
        except UnreadableBody:
            return Lease(state.name, stored_id, job_id, token, now_ms, None, value)
        return Lease(state.name, stored_id, job_id, token, now_ms, header, value[body])

    def _hand_out_or_end(self, state: QueueState, lease: Lease) -> None:
        try:
            self._hand_out(state, lease)
        except UnreadableBody as error:
            self._held.end(cannot_run(lease, error))
        except BaseException as error:
            # The application's own encoder or message failed. If it were only kept, it would stay active forever.
            logger.critical("job %s cannot be passed to a thread", lease.job_id, exc_info=True)
            reason = UnreadableBody(f"it cannot be read: {describe_error(error)}", lease.body)
            self._held.end(cannot_run(lease, reason))

    def _hand_out(self, state: QueueState, lease: Lease) -> None:
        message = read(lease)
        lease.proxy = message
        lease.notify = self._report
        if not self._knows_actor(message.actor_name):
            self._held.end(unknown_actor(lease, self._held.name))
        elif self._held.work_queue is not None:
            self._held.work_queue.put(WorkItem(message))
        else:
            state.inbox.put(message)
