"""Which queues a session asks for how many jobs, and how it hands out those that Redis leases to it."""

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
from .message import read, refused, unknown_actor
from .queue_state import QueueState
from .steady_log import get_logger
from .work_queue import WorkItem

logger = get_logger("nomad_actors.broker.session")

#: At most this many jobs in one request.
MAX_REQUEST = 500


class Request(NamedTuple):
    """How many jobs of a queue are asked for, and how many of them may be suspects (`Starting.requests`)."""

    queue: QueueState
    free: int
    suspects: int


class Starting:
    """Asks for jobs and hands them to threads; used by the pump alone.

    `report` is called by a job's own thread when it has something to report.
    """

    def __init__(
        self,
        held: HeldJobs,
        link: Link,
        *,
        worker_id: bytes,
        name: str,
        knows_actor: Callable[[str], bool],
        report: Callable[[Lease], None],
    ) -> None:
        self._held = held
        self._link = link
        self._worker_id, self._name = worker_id, name
        self._knows_actor = knows_actor
        self._report = report
        self._turn = 0

    def can_ask(self, now: float) -> bool:
        """Return True if a queue has a free place, a thread is free, and jobs may be there."""
        return self._held.free_threads() > 0 and bool(self._asking(now))

    def _asking(self, now: float) -> list[QueueState]:
        return [state for state in self._held.queues() if self._held.taking and state.wants(now)]

    def requests(self) -> list[Request]:
        """Return which queues to ask for how many jobs: a free place and a free thread for each.

        A suspect was present when a worker was lost. One in all may be taken, and none while one runs here: kept apart,
        only the one that kills its worker does so again.
        """
        wanted = self._wanted()
        if self._held.suspects:
            return [Request(state, free, 0) for state, free in wanted]
        self._turn += 1
        passed = [state.name for state, _ in wanted if state.passed_over] or [state.name for state, _ in wanted]
        chosen = passed[self._turn % len(passed)] if passed else ""
        return [Request(state, free, int(state.name == chosen)) for state, free in wanted]

    def _wanted(self) -> list[tuple[QueueState, int]]:
        asking = self._asking(time.monotonic())
        threads = self._held.free_threads()
        if threads <= 0 or not asking:
            return []
        if len(asking) > 1 and sum(state.free for state in asking) > threads:
            asking = self._most_urgent_first(asking)
        wanted = []
        for state in asking:
            free = min(state.free, threads, MAX_REQUEST)
            if free > 0:
                wanted.append((state, free))
                threads -= free
        return wanted

    def _most_urgent_first(self, asking: list[QueueState]) -> list[QueueState]:
        """Order queues by the job that would start next: with too few threads for all, the urgent one gets them."""
        replies = self._link.run([Call("peek", state.base) for state in asking])
        scores = {
            state.name: float(reply)
            for state, reply in zip(asking, replies, strict=True)
            if reply and not isinstance(reply, Exception)
        }
        self._turn += 1
        turned = asking[self._turn % len(asking) :] + asking[: self._turn % len(asking)]
        # Equal priorities take turns; a queue without waiting jobs is asked last, for what is due.
        return sorted(turned, key=lambda q: scores[q.name] // keys.PRIORITY_STEP if q.name in scores else 1e9)

    def call(self, request: Request) -> Call:
        """Return the script that leases the jobs asked for."""
        state, free, suspects = request
        evidence = state.clock.evidence()
        return Call("start", state.base, (self._worker_id, state.next_request(), free, self._name, suspects, evidence))

    def replied(self, request: Request, reply: list[Any], now: float) -> int:
        """Hand out the jobs of a reply; return how many."""
        state = request.queue
        state.request = state.next_request()
        redis_now = float(reply[0])
        state.set_due(now, redis_now, float(reply[1]) if reply[1] else None)
        state.passed_over = int(reply[2])
        taken = 0
        for i in range(3, len(reply), 4):
            lease = self._lease(state, reply[i], reply[i + 1], int(reply[i + 2]), redis_now)
            self._held.hold(state, lease)
            self._hand_out_or_end(state, lease)
            taken += 1
        state.asleep = taken < request.free
        return taken

    def _lease(self, state: QueueState, stored_id: bytes, value: bytes, number: int, now_ms: float) -> Lease:
        token = records.TOKEN.pack(self._worker_id, state.request, number)
        job_id = records.unpack_id(stored_id)
        try:
            header, body = records.unpack_head(value)
        except UnreadableBody:
            return Lease(state.name, stored_id, job_id, token, now_ms, None, value)
        return Lease(state.name, stored_id, job_id, token, now_ms, header, value[body])

    def _hand_out_or_end(self, state: QueueState, lease: Lease) -> None:
        """Give a job to a thread; what no thread could run ends here, with the reason."""
        try:
            self._hand_out(state, lease)
        except UnreadableBody as error:
            self._held.end(refused(lease, error))
        except BaseException as error:
            # An application's own encoder made it, or a message of its own: held and never run, it would stay for ever.
            logger.critical("job %s cannot be handed to a thread", lease.job_id, exc_info=True)
            reason = UnreadableBody(f"it cannot be read: {describe_error(error)}", lease.body)
            self._held.end(refused(lease, reason))

    def _hand_out(self, state: QueueState, lease: Lease) -> None:
        message = read(lease)
        lease.proxy = message
        lease.tell = self._report
        if not self._knows_actor(message.actor_name):
            self._held.end(unknown_actor(lease, self._name))
        elif self._held.work_queue is not None:
            self._held.work_queue.put(WorkItem(message))
        else:
            state.inbox.put(message)
