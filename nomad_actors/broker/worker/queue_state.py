"""What the session knows of one queue: the leases held, the places left, and when to ask for more."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field

from ...retention import Retention
from ..constants import REQUESTS
from ..redis_clock import LOOK_AGAIN_SECONDS, ClockSight
from .lease import Lease
from .message import LeasedMessage


@dataclass(slots=True, eq=False)
class QueueState:
    """What the pump knows of one queue."""

    name: str
    base: str
    places: int
    limit: int | None
    retention: Retention | None
    #: Where leases arrive when no Worker's own queue takes them.
    inbox: queue.SimpleQueue[LeasedMessage] = field(default_factory=queue.SimpleQueue)
    attached: bool = False
    introduced: bool = False
    #: By token: handed out and not ended.
    held: dict[bytes, Lease] = field(default_factory=dict)
    #: The last request that Redis answered; a repeat of the next one is recognised by its number.
    request: int = 0
    #: Believed empty; the waiter, the due time or a beat will say otherwise.
    asleep: bool = False
    due_mono: float | None = None
    #: When Redis last heard which jobs we hold.
    beat_mono: float = 0.0
    #: Whether any process ran jobs of this queue at the last beat.
    busy: bool = False
    #: What was seen of the queue's clock last.
    clock: ClockSight = field(default_factory=ClockSight)
    #: Whether the clock is in doubt: beats come soon after each other then.
    clock_in_doubt: bool = False
    #: Jobs that may not run beside one that is held, passed over by the last request.
    passed_over: int = 0

    @property
    def free(self) -> int:
        """How many more jobs of this queue may start here now."""
        return self.places - len(self.held)

    def wants(self, now: float) -> bool:
        """Return whether Redis should be asked for jobs, at a monotonic time in seconds."""
        if not self.attached or self.free <= 0:
            return False
        return not self.asleep or (self.due_mono is not None and self.due_mono <= now)

    def next_beat_mono(self, lease_seconds: float) -> float:
        """Return when Redis must hear of us again: twice as often while jobs run, here or elsewhere.

        Also for jobs that run elsewhere: only who ticks often sees in time that their worker is gone.
        """
        interval = lease_seconds / (4 if self.held or self.busy else 2)
        return self.beat_mono + (min(LOOK_AGAIN_SECONDS, interval) if self.clock_in_doubt else interval)

    def set_due(self, now: float, redis_now_ms: float, due_ms: float | None) -> None:
        """Note when Redis should be asked again though nobody wakes us; None for never."""
        self.due_mono = None if due_ms is None else now + max(0.0, due_ms - redis_now_ms) / 1000

    def next_request(self) -> int:
        """Return the number of the next request; a repeat of it has the same one."""
        return (self.request + 1) % REQUESTS
