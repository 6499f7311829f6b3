"""The sandbox's clock: it runs with the host's, or faster, or is stopped until it is advanced."""

from __future__ import annotations

import threading
import time

MAX_SPEED = 10_000


class SandboxClock:
    """Wall time in seconds since the Unix epoch, which everything in the sandbox follows.

    With `frozen_at_s` it shows that time until it is advanced. Otherwise it runs from `start_s` (default: the host's
    time), `speed` times as fast as the host's clock.
    """

    def __init__(
        self, *, frozen_at_s: float | None = None, start_s: float | None = None, speed: float | None = None
    ) -> None:
        if frozen_at_s is not None:
            start_s, speed = frozen_at_s, 0.0
        # The host's wall clock, so that at speed 1 both stay together when it is corrected.
        self._base_host_s = time.time()
        self._base_s = self._base_host_s if start_s is None else start_s
        self._speed = 1.0 if speed is None else check_speed(speed)
        self._changed = threading.Condition()

    @property
    def speed(self) -> float:
        """How many of its seconds pass in one second of the host; 0 if it is stopped."""
        with self._changed:
            return self._speed

    def now(self) -> float:
        """Return seconds since the Unix epoch."""
        with self._changed:
            return self._now()

    def now_s(self) -> int:
        """Return whole seconds since the Unix epoch, as in HTTP dates and token claims."""
        return int(self.now())

    def advance(self, seconds: float) -> None:
        """Move the clock forward; moving it back would contradict earlier responses."""
        if seconds < 0:
            raise ValueError(f"advance_seconds must not be negative, got {seconds!r}")
        with self._changed:
            self._base_s += seconds
            self._changed.notify_all()

    def set_speed(self, speed: float) -> None:
        """Run at another speed from now on; 0 stops the clock."""
        check_speed(speed)
        with self._changed:
            self._base_s, self._base_host_s, self._speed = self._now(), time.time(), speed
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Return when this many of its seconds have passed; while it is stopped, only `advance` lets them pass."""
        self.wait_until(self.now() + seconds)

    def wait_until(self, end_s: float) -> None:
        """Return when it shows this time."""
        with self._changed:
            while (missing_s := end_s - self._now()) > 0:
                self._changed.wait(missing_s / self._speed if self._speed else None)

    def _now(self) -> float:
        return self._base_s + (time.time() - self._base_host_s) * self._speed


def check_speed(speed: float) -> float:
    """Return a valid speed; raises `ValueError`."""
    if not 0 <= speed <= MAX_SPEED:
        raise ValueError(f"speed must be 0 to {MAX_SPEED}, got {speed!r}")
    return speed
