"""The progress and log lines of a running job that the session has not sent yet."""

from __future__ import annotations

import threading
import time
from collections import deque

from ..records import notes
from ..records.notes import Progress

#: How long progress and lines are collected before they are sent.
GATHER_SECONDS = 0.05
#: How many lines wait while Redis is away; older ones are left out and counted.
MAX_PENDING = 500


class Report:
    """One run's unsent progress and log lines; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: bytes = b""
        self._lines: deque[tuple[float, bytes]] = deque()
        #: Number of the first pending line within this run.
        self._first = 1
        self._left_out = 0
        self.sent_mono = 0.0

    def progress(self, progress: Progress) -> None:
        """Set the job's progress."""
        # Packed here, on the job's own thread, because the job may pass objects of its own classes.
        packed = progress.pack()
        with self._lock:
            self._progress = packed

    def log(self, text: str) -> None:
        """Add a line."""
        with self._lock:
            self._lines.append((time.time() * 1000, notes.cut_line(text)))
            if len(self._lines) > MAX_PENDING:
                self._lines.popleft()
                self._left_out += 1
                at_ms, _ = self._lines[0]
                self._lines[0] = (at_ms, f"[{self._left_out} lines left out while Redis was away]".encode())

    def pending(self) -> tuple[int, bytes, list[tuple[float, bytes]]]:
        """Return the first line's number, the progress, and the lines to send."""
        with self._lock:
            return self._first, self._progress, list(self._lines)

    def sent(self, progress: bytes, lines: int) -> bool:
        """Remove what Redis has stored; return True if there is more by now."""
        with self._lock:
            if self._progress is progress:
                self._progress = b""
            for _ in range(lines):
                self._lines.popleft()
            self._first += lines
            return bool(self._progress or self._lines)
