"""One run of a job in a worker, and its settlement."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dramatiq import Actor, Message

from .. import records
from ..client.packed_job import PackedJob
from ..endings import Ended, Outcome
from ..records import Header

if TYPE_CHECKING:
    from .message import LeasedMessage
    from .reporting import Report


@dataclass(slots=True, eq=False)
class Lease:
    """A job that this process runs; the running thread fills it in, and the session reads it after the run."""

    queue: str
    stored_id: bytes
    job_id: str
    token: bytes
    started_ms: float
    header: Header | None
    body: bytes
    message: Message[Any] | None = None
    #: The thread that runs it, from its first middleware to its last.
    thread: threading.Thread | None = None
    #: Under gevent, where `thread` is not an operating system's thread.
    greenlet: Any = None
    #: True while the actor itself runs, the only time at which it may be interrupted (`interrupts`).
    entered: bool = False
    struck: bool = False
    #: The reason of an operator's cancel; None if it is not cancelled.
    cancel_reason: str | None = None
    #: The exception by which the job was skipped or deferred.
    skip: BaseException | None = None
    #: True after Redis replied that this lease is not ours any more.
    lost: bool = False
    #: True while messages that middleware enqueues after the actor go to the outbox.
    collecting: bool = False
    began_mono_ms: float = 0.0
    #: The time limit that ended the run; None if none did.
    time_limit_ms: float | None = None
    retry_delay_ms: int | None = None
    retry_body: bytes = b""
    outbox: list[PackedJob] = field(default_factory=list)
    result: bytes = b""
    #: Why the result cannot be stored, which fails the job.
    result_error: str | None = None
    #: The job's unsent progress and log lines, and the function that tells the session about them.
    report: Report | None = None
    notify: Callable[[Lease], None] | None = None
    #: The message that Dramatiq runs.
    proxy: LeasedMessage | None = None

    @property
    def suspect(self) -> bool:
        """True if it was running on a worker that was lost."""
        return self.header is not None and self.header.crashes > 0

    @property
    def attempt(self) -> int:
        """Number of this attempt; the first is 1."""
        return (self.header.attempts if self.header else 0) + 1

    def note(self, message: Message[Any], *, actor: Actor[Any, Any] | None, delay_ms: int) -> Message[Any]:
        """Keep a message that middleware enqueues after the actor, to be sent with this lease's settlement.

        Returns the message with its final id, which a run that is repeated after a crash derives again.
        """
        number = len(self.outbox)
        enqueued_ms = self.header.created_ms if self.header else 0
        seed = f"{self.job_id}/{enqueued_ms}/{self.attempt}/{number}/{message.actor_name}"
        call = hashlib.blake2b(seed.encode(), digest_size=8).digest()
        if message.message_id not in self._fixed_ids():
            message = message.copy(message_id=str(uuid.uuid5(uuid.NAMESPACE_OID, seed)))
        self.outbox.append(PackedJob.of(message, call=call, actor=actor, delay_ms=delay_ms))
        return message

    def _fixed_ids(self) -> set[str]:
        """Return the message ids that this job's options already contain: a pipeline's next, a group's callbacks."""
        options = self.message.options if self.message else {}
        target = options.get("pipe_target")
        callbacks = options.get("group_completion_callbacks")
        found = [target] if isinstance(target, dict) else []
        found += callbacks if isinstance(callbacks, list) else []
        return {m["message_id"] for m in found if isinstance(m, dict) and isinstance(m.get("message_id"), str)}


@dataclass(slots=True, eq=False)
class Settlement:
    """How a lease ended, on its way to Redis."""

    lease: Lease
    outcome: Outcome
    delay_ms: int = 0
    body: bytes = b""
    error: bytes = b""
    #: The result as JSON, or the reason of a failure or deferral.
    note: bytes = b""
    #: The failure group of a failed job (`records.failures`).
    failure_group: bytes = b""
    #: "ClassName: message", for the log.
    error_text: str | None = None
    #: Measured by the thread that ran it.
    run_ms: float = 0.0
    sent_elsewhere: bool = False

    def elsewhere(self) -> list[PackedJob]:
        """Return the jobs that the run enqueued on other queues; they are sent before the settlement."""
        return [job for job in self.lease.outbox if job.queue != self.lease.queue]

    def to_ended(self, ended_ms: float, *, cancelled: bool = False) -> Ended:
        """Return what middleware gets after Redis confirmed the end at `ended_ms` by its clock."""
        lease = self.lease
        ready_ms = records.instant(lease.header.ready_ms) if lease.header else lease.started_ms
        return Ended(
            queue=lease.queue,
            actor=lease.message.actor_name if lease.message else "unknown",
            job_id=lease.job_id,
            outcome=Outcome.CANCELLED if cancelled else self.outcome,
            attempt=lease.attempt,
            ready_ms=int(ready_ms),
            started_ms=int(lease.started_ms),
            ended_ms=int(ended_ms),
            wait_ms=max(0.0, lease.started_ms - ready_ms),
            run_ms=self.run_ms,
            error=self.error_text,
            message=lease.message,
        )

    def arguments(self) -> Sequence[bytes | str | int]:
        lease = self.lease
        here = [job for job in lease.outbox if job.queue == lease.queue]
        run = (lease.stored_id, lease.token, self.outcome.value, self.delay_ms)
        texts = (self.body, self.error, self.note, self.failure_group)
        return [*run, *texts, len(here), *(field for job in here for field in job.arguments())]


#: The lease that this thread, or a coroutine that it started, runs; None outside a job.
CURRENT: ContextVar[Lease | None] = ContextVar("nomad_current_lease", default=None)
