"""Where calendar time comes from: passed in, so that tests can move it."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the wall time used for calendars, freshness and retention; never used for leases."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        ...


class SystemClock:
    """The host's wall clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        with self._lock:
            return self._now_ms

    def advance(self, *, seconds: float) -> None:
        """Move the clock forward by `seconds`."""
        with self._lock:
            self._now_ms += int(seconds * 1000)


def mono_ms() -> float:
    """Return a monotonic time in milliseconds, for durations within one process only."""
    return time.perf_counter_ns() / 1_000_000
