"""The workers' half of a queue's clock: how much time has passed for a worker since it last saw Redis' TIME.

The other half is ``scripts/lib/clock.lua``, and the guarantee is in docs/guarantees.md; change all or none.
"""

from __future__ import annotations

import math
import struct
import time
from dataclasses import dataclass

from .constants import CLOCK_TOLERANCE_MS

#: How soon a worker looks again at a clock that is in doubt.
LOOK_AGAIN_SECONDS = 0.5

#: What a queue's tick holds of its clock, after the times of the last tick and the last trimming.
_STORED = struct.Struct(">ddIdB")
_TICK_BYTES = 16
#: A clock that also runs while the host sleeps: time that Redis sees pass then has passed.
_CLOCK_ID: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def boot_seconds() -> float:
    """Return a time that nobody can set and that also passes while the host sleeps (where the system has one)."""
    return time.monotonic() if _CLOCK_ID is None else time.clock_gettime(_CLOCK_ID)


@dataclass(frozen=True, slots=True)
class ClockReply:
    """What a beat's reply says of the clock."""

    version: int
    raw_ms: float
    sure: bool
    #: How far the clock was set right by this beat, in ms; above 0 when TIME had stepped ahead.
    set_by_ms: float

    @classmethod
    def read(cls, reply: bytes) -> ClockReply:
        """Return it as the script wrote it."""
        version, raw, sure, set_by = reply.split()
        return cls(int(version), float(raw), sure == b"1", float(set_by))


@dataclass(slots=True)
class ClockSight:
    """A worker's last look at a queue's confirmed clock: its evidence of how much time has passed since."""

    version: int = 0
    raw_ms: float = 0.0
    #: When the beat was sent and when its reply came: TIME was read in between. Seconds of `boot_seconds`.
    sent: float = 0.0
    received: float = 0.0
    certain: bool = False
    seen: bool = False

    def evidence(self) -> str:
        """Return what scripts are told: '' before the first look."""
        if not self.seen:
            return ""
        passed_ms = (boot_seconds() - self.received) * 1000
        return f"{self.version} {self.raw_ms:.3f} {passed_ms:.3f} {self.certain:d}"

    def take(self, reply: ClockReply, sent: float, received: float) -> bool:
        """Take in a beat's reply; return True if the clock is in doubt and the next beat must come soon."""
        if reply.sure or not self.seen or reply.version != self.version:
            self.version, self.raw_ms, self.sent, self.received = reply.version, reply.raw_ms, sent, received
            self.seen, self.certain = True, False
            return not reply.sure
        # At most this much has passed between the two looks, however long the calls were on their way.
        most_ms = (received - self.sent) * 1000
        self.certain = reply.raw_ms - self.raw_ms > most_ms + CLOCK_TOLERANCE_MS
        return True


def is_readable(tick: bytes) -> bool:
    """Return True if a queue's tick holds a clock."""
    if len(tick) != _TICK_BYTES + _STORED.size:
        return False
    offset_ms, confirmed_ms, _, late_ms, _ = _STORED.unpack_from(tick, _TICK_BYTES)
    return all(math.isfinite(each) and abs(each) < 1e15 for each in (offset_ms, confirmed_ms, late_ms))
