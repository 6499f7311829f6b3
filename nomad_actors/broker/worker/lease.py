"""One run of one job: what a worker holds while it runs it, and what it noted for the end of it."""

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
from .report import Report

if TYPE_CHECKING:
    from .message import LeasedMessage


@dataclass(slots=True, eq=False)
class Lease:
    """A job that this process runs. Filled in by the thread that runs it, read by the session when it has ended."""

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
    #: Under gevent, where `thread` is one only in name.
    greenlet: Any = None
    #: Set while the actor itself runs: the only time when it may be interrupted (`interrupts`).
    entered: bool = False
    struck: bool = False
    #: Why an operator wants it ended; None when nobody does.
    cancel_reason: str | None = None
    #: Why the actor asked to be skipped or deferred.
    skip: BaseException | None = None
    #: Set when Redis said that the lease is not ours any more.
    lost: bool = False
    #: Set while middleware that runs after the actor may note what it enqueues.
    collecting: bool = False
    began_mono_ms: float = 0.0
    #: The time limit that ended it; None if none did.
    time_limit_ms: float | None = None
    retry_delay_ms: int | None = None
    retry_body: bytes = b""
    outbox: list[PackedJob] = field(default_factory=list)
    result: bytes = b""
    #: Why the job failed though its actor returned.
    refused: str | None = None
    #: What it says of itself, and how the session learns that it did.
    report: Report | None = None
    tell: Callable[[Lease], None] | None = None
    #: What Dramatiq runs.
    proxy: LeasedMessage | None = None

    @property
    def suspect(self) -> bool:
        """Whether it was present when a worker was lost."""
        return self.header is not None and self.header.crashes > 0

    @property
    def attempt(self) -> int:
        """Which attempt this run is, 1 for the first."""
        return (self.header.attempts if self.header else 0) + 1

    def note(self, message: Message[Any], *, actor: Actor[Any, Any] | None, delay_ms: int) -> Message[Any]:
        """Keep what middleware enqueues after the actor ended, to be sent with the settling of this lease.

        Returns the message under the id that it will have: a run that is repeated after a crash derives the same.
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
        """Return the ids that are already written in this job's options: a pipeline's next, a group's callbacks."""
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
    #: The result as JSON, or why it failed or is deferred.
    note: bytes = b""
    #: What a failed job is grouped by (`faults`).
    fault: bytes = b""
    #: "ClassName: message", for the log.
    error_text: str | None = None
    #: Measured by the thread that ran it.
    run_ms: float = 0.0
    sent_elsewhere: bool = False

    def elsewhere(self) -> list[PackedJob]:
        """Return what the run enqueued on other queues, which goes ahead of the settling."""
        return [job for job in self.lease.outbox if job.queue != self.lease.queue]

    def told(self, ended_ms: float, *, cancelled: bool = False) -> Ended:
        """Return what middleware is told once Redis has confirmed the end, at `ended_ms` of its time."""
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
        """Return the script's arguments for this lease."""
        outbox = self.lease.outbox
        here = [job for job in outbox if job.queue == self.lease.queue] if outbox else ()
        fields: list[bytes | str | int] = [
            self.lease.stored_id,
            self.lease.token,
            self.outcome.value,
            self.delay_ms,
            self.body,
            self.error,
            self.note,
            self.fault,
            len(here),
        ]
        for job in here:
            fields.extend(job.arguments())
        return fields


#: The lease that this thread (or the coroutine it started) runs; None outside a job.
CURRENT: ContextVar[Lease | None] = ContextVar("nomad_current_lease", default=None)
