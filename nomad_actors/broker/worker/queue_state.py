"""A queue's declared options, and what a session knows about it: held leases, free slots, when to request jobs."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field

from ...retention import Retention
from ..constants import REQUESTS
from ..redis_clock import RECHECK_SECONDS, ClockReading
from .lease import Lease
from .message import LeasedMessage


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How many jobs run at a time per process (None: one per thread) and over all hosts, and the retention."""

    concurrency: int | None = None
    limit: int | None = None
    retention: Retention | None = None

    def changed_by(self, other: QueueOptions) -> QueueOptions:
        """Return these options, replaced by those that `other` declares."""
        return QueueOptions(
            other.concurrency or self.concurrency, other.limit or self.limit, other.retention or self.retention
        )


@dataclass(slots=True, eq=False)
class QueueState:
    """The state of one queue in a session; used only by the pump."""

    name: str
    base: str
    concurrency: int
    options: QueueOptions
    #: Gets the messages if there is no Worker with its own queue.
    inbox: queue.SimpleQueue[LeasedMessage] = field(default_factory=queue.SimpleQueue)
    attached: bool = False
    registered: bool = False
    #: By token: leases that were started and have not ended.
    held: dict[bytes, Lease] = field(default_factory=dict)
    #: The number of the last request that Redis answered; Redis recognises a repeat of the next one by its number.
    request: int = 0
    #: True while the queue is believed empty, until the waiter, the due time or a heartbeat shows work.
    asleep: bool = False
    due_mono: float | None = None
    #: When the last heartbeat was answered.
    beat_mono: float = 0.0
    #: True if any process ran jobs of this queue at the last heartbeat.
    busy: bool = False
    clock: ClockReading = field(default_factory=ClockReading)
    #: While it is True, heartbeats follow each other quickly.
    clock_in_doubt: bool = False
    #: How many suspects the last request skipped, because they may not run beside a held one.
    passed_over: int = 0

    @property
    def free(self) -> int:
        """How many more jobs of this queue may start here now."""
        return self.concurrency - len(self.held)

    def can_request(self, now: float) -> bool:
        """Return True if jobs should be requested from Redis at `now` (monotonic seconds)."""
        if not self.attached or self.free <= 0:
            return False
        return not self.asleep or (self.due_mono is not None and self.due_mono <= now)

    def next_beat_mono(self, lease_seconds: float) -> float:
        """Return when the next heartbeat is due: twice as often while jobs run, here or in other processes.

        A worker that is lost elsewhere is noticed in time only if heartbeats here are frequent.
        """
        interval = lease_seconds / (4 if self.held or self.busy else 2)
        return self.beat_mono + (min(RECHECK_SECONDS, interval) if self.clock_in_doubt else interval)

    def set_due(self, redis_now_ms: float, due_ms: float | None) -> None:
        """Set when to request jobs even without a wake-up; None for never."""
        self.due_mono = None if due_ms is None else time.monotonic() + max(0.0, due_ms - redis_now_ms) / 1000

    def next_request(self) -> int:
        """Return the number of the next request; a repeated request has the same number."""
        return (self.request + 1) % REQUESTS
