"""What the session knows of one queue: the leases held, the places left, and when to ask for more."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field

from .lease import Lease
from .leased import LeasedMessage

#: How long a queue believed empty is believed so without asking Redis again.
RECHECK_SECONDS = 8.0


@dataclass(slots=True, eq=False)
class Place:
    """What the pump knows of one queue."""

    name: str
    base: str
    places: int
    limit: int | None
    #: Where leases arrive when no Worker's own queue takes them.
    inbox: queue.SimpleQueue[LeasedMessage] = field(default_factory=queue.SimpleQueue)
    attached: bool = False
    introduced: bool = False
    #: By token: handed out and not ended.
    held: dict[bytes, Lease] = field(default_factory=dict)
    #: The last request that Redis answered; a repeat of the next one is recognised by its number.
    request: int = 0
    #: Believed empty; the waiter or the due time will say otherwise.
    asleep: bool = False
    due_mono: float | None = None
    asked_mono: float = 0.0

    @property
    def free(self) -> int:
        """How many more jobs of this queue may start here now."""
        return self.places - len(self.held)

    def wants(self, now: float) -> bool:
        """Return whether Redis should be asked for jobs, at a monotonic time in seconds."""
        if not self.attached or self.free <= 0:
            return False
        due = self.due_mono is not None and self.due_mono <= now
        return not self.asleep or due or now - self.asked_mono >= RECHECK_SECONDS
