"""Clocks for calendar time; they are passed in, so that tests can control the time."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import NamedTuple, Protocol


class TimeConversion(NamedTuple):
    """The conversion of real time, such as that of Redis's host, to a clock's time: at `since_ms` it showed `at_ms`."""

    since_ms: float = 0.0
    at_ms: float = 0.0
    speed: float = 1.0

    def of(self, real_ms: float) -> float:
        """Return the clock's time (ms) at a real time (ms)."""
        return self.at_ms + (real_ms - self.since_ms) * self.speed

    def real_seconds(self, ms: float) -> float:
        """Return how long a time of the clock (ms) takes in real time (s); a stopped clock counts as real time."""
        return ms / 1000 / (self.speed or 1.0)

    def as_argument(self) -> str:
        """Return the argument for Lua scripts; '' for real time."""
        return "" if self == TimeConversion() else f"{self.since_ms!r} {self.at_ms!r} {self.speed!r}"


class Clock(Protocol):
    """The wall time for calendars, freshness and retention; never used for leases."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""

    def conversion(self) -> TimeConversion:
        """Return how another host converts its own time to this clock's."""


class SystemClock:
    """The host's wall clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def conversion(self) -> TimeConversion:
        return TimeConversion()


class ManualClock:
    """A clock that changes only when it is advanced."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        with self._lock:
            return self._now_ms

    def conversion(self) -> TimeConversion:
        return TimeConversion(0.0, float(self.now_ms()), 0.0)

    def advance(self, *, seconds: float) -> None:
        with self._lock:
            self._now_ms += int(seconds * 1000)


def iso_ms(text: str | None) -> float | None:
    """Return an instant in ISO 8601 as ms since the epoch."""
    return None if text is None else datetime.fromisoformat(text).timestamp() * 1000


def mono_ms() -> float:
    """Return a monotonic time (ms), only for durations within one process."""
    return time.perf_counter_ns() / 1_000_000
