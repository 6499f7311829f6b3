"""The workers' half of a queue's clock: how much time has passed for a worker since it last read Redis' TIME.

The other half is ``scripts/lib/clock.lua``, and the guarantee is in docs/guarantees.md; change all or none.
"""

from __future__ import annotations

import math
import struct
import time
from dataclasses import dataclass

from .constants import CLOCK_TOLERANCE_MS

#: How soon a worker reads a clock again that is in doubt.
RECHECK_SECONDS = 0.5

#: The clock in a queue's `tick` field, after the times of the last tick and the last trimming.
_STORED = struct.Struct(">ddIdB")
_TICK_BYTES = 16
#: A clock that also runs while the host sleeps: that time passes for Redis too.
_CLOCK_ID: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def boot_seconds() -> float:
    """Return the seconds of a clock that cannot be set and, if the system has one, also runs while the host sleeps."""
    return time.monotonic() if _CLOCK_ID is None else time.clock_gettime(_CLOCK_ID)


@dataclass(frozen=True, slots=True)
class ClockReply:
    """The clock in the reply to a heartbeat."""

    version: int
    raw_ms: float
    sure: bool
    #: By how much this heartbeat corrected the clock (ms); above 0 if TIME had stepped ahead.
    set_by_ms: float

    @classmethod
    def read(cls, reply: bytes) -> ClockReply:
        version, raw, sure, set_by = reply.split()
        return cls(int(version), float(raw), sure == b"1", float(set_by))


@dataclass(slots=True)
class ClockReading:
    """A worker's last reading of a queue's confirmed clock: its evidence of how much time has passed since."""

    version: int = 0
    raw_ms: float = 0.0
    #: When the heartbeat was sent and when its reply arrived, in `boot_seconds`; Redis read TIME in between.
    sent: float = 0.0
    received: float = 0.0
    certain: bool = False
    seen: bool = False

    def evidence(self) -> str:
        """Return the scripts' argument; '' before the first reading."""
        if not self.seen:
            return ""
        passed_ms = (boot_seconds() - self.received) * 1000
        return f"{self.version} {self.raw_ms:.3f} {passed_ms:.3f} {self.certain:d}"

    def update(self, reply: ClockReply, sent: float, received: float) -> bool:
        """Update the reading; return True if the clock is in doubt and the next heartbeat must be sent soon."""
        if reply.sure or not self.seen or reply.version != self.version:
            self.version, self.raw_ms, self.sent, self.received = reply.version, reply.raw_ms, sent, received
            self.seen, self.certain = True, False
            return not reply.sure
        # The most that can have passed between the two readings, however long the calls took.
        most_ms = (received - self.sent) * 1000
        self.certain = reply.raw_ms - self.raw_ms > most_ms + CLOCK_TOLERANCE_MS
        return True


def is_readable(tick: bytes) -> bool:
    """Return True if the clock in a queue's `tick` field is valid."""
    if len(tick) != _TICK_BYTES + _STORED.size:
        return False
    offset_ms, confirmed_ms, _, late_ms, _ = _STORED.unpack_from(tick, _TICK_BYTES)
    return all(math.isfinite(each) and abs(each) < 1e15 for each in (offset_ms, confirmed_ms, late_ms))
