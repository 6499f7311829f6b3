"""The sandbox's clock: the host's, which can be moved forward, or a frozen one."""

from __future__ import annotations

import threading
import time


class SandboxClock:
    """Wall time in seconds since the Unix epoch.

    With `frozen_at_s` it shows that time until it is advanced; else it runs with the host's clock.
    """

    def __init__(self, *, frozen_at_s: float | None = None) -> None:
        self._frozen_at_s = frozen_at_s
        self._ahead_s = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return seconds since the Unix epoch."""
        base_s = time.time() if self._frozen_at_s is None else self._frozen_at_s
        with self._lock:
            return base_s + self._ahead_s

    def now_s(self) -> int:
        """Return whole seconds since the Unix epoch, as in HTTP dates and token claims."""
        return int(self.now())

    def advance(self, seconds: float) -> None:
        """Move the clock forward; moving it back would contradict earlier responses."""
        if seconds < 0:
            raise ValueError(f"advance_seconds must not be negative, got {seconds!r}")
        with self._lock:
            self._ahead_s += seconds
