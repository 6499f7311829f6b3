"""Where calendar time comes from: passed in, so that tests can move it."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, Protocol


class Reckoning(NamedTuple):
    """How a clock is reckoned from the real time of another host, such as Redis': it stood at `at_ms` at `since_ms`."""

    since_ms: float = 0.0
    at_ms: float = 0.0
    speed: float = 1.0

    def of(self, real_ms: float) -> float:
        """Return what the clock says at a real time, both in ms."""
        return self.at_ms + (real_ms - self.since_ms) * self.speed

    def told(self) -> str:
        """Return it as scripts are told it; '' for the real time itself."""
        return "" if self == Reckoning() else f"{self.since_ms!r} {self.at_ms!r} {self.speed!r}"


class Clock(Protocol):
    """Tells the wall time used for calendars, freshness and retention; never used for leases."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        ...

    def reckoning(self) -> Reckoning:
        """Return how another host reckons this clock from its own."""
        ...


class SystemClock:
    """The host's wall clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def reckoning(self) -> Reckoning:
        """Return that every host has the same."""
        return Reckoning()


class FastClock:
    """A clock that runs `speed` times as fast as the real time since it was made, for proofs of days in minutes."""

    def __init__(self, since_ms: float, at_ms: float, speed: float) -> None:
        self._reckoning = Reckoning(since_ms, at_ms, speed)

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return int(self._reckoning.of(time.time_ns() / 1_000_000))

    def reckoning(self) -> Reckoning:
        """Return how it runs."""
        return self._reckoning


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        with self._lock:
            return self._now_ms

    def reckoning(self) -> Reckoning:
        """Return that it stands still."""
        return Reckoning(0.0, float(self.now_ms()), 0.0)

    def advance(self, *, seconds: float) -> None:
        """Move the clock forward by `seconds`."""
        with self._lock:
            self._now_ms += int(seconds * 1000)


def mono_ms() -> float:
    """Return a monotonic time in milliseconds, for durations within one process only."""
    return time.perf_counter_ns() / 1_000_000
