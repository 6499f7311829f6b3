"""The progress and log lines of running jobs that are not sent yet, and when they are sent to Redis."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..client.link import Call
from ..records import notes
from ..records.notes import Progress
from .lease import Lease, Settlement

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
        # Packed here, on the job's own thread, because the job may pass objects of its own classes.
        packed = progress.pack()
        with self._lock:
            self._progress = packed

    def log(self, text: str) -> None:
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


class SentReport(NamedTuple):
    """A job's progress and lines that are sent now."""

    lease: Lease
    report: Report
    first: int
    progress: bytes
    lines: list[tuple[float, bytes]]


class Reporting:
    """The jobs of one session that have something to report; used only by the pump."""

    def __init__(self, base_of: Callable[[str], str]) -> None:
        self._base_of = base_of
        self._reporting: dict[bytes, Lease] = {}

    def add(self, lease: Lease) -> None:
        if lease.report is not None:
            self._reporting[lease.token] = lease

    def due_mono(self) -> list[float]:
        return [_due_mono(lease) for lease in self._reporting.values()]

    def due(self, settling: Iterable[Settlement]) -> list[SentReport]:
        """Return the reports that are due; those of jobs that end now are due at once."""
        if not self._reporting:
            return []
        now = time.monotonic()
        ending = {s.lease.token for s in settling}
        due = [lease for token, lease in self._reporting.items() if token in ending or _due_mono(lease) <= now]
        return [SentReport(lease, lease.report, *lease.report.pending()) for lease in due if lease.report is not None]

    def call(self, sent: SentReport) -> Call:
        arguments: list[bytes | str | int | float] = [sent.lease.stored_id, sent.lease.token, sent.first, sent.progress]
        for at_ms, text in sent.lines:
            arguments += (at_ms, text)
        return Call("report", self._base_of(sent.lease.queue), arguments)

    def replied(self, sent: SentReport, _: bytes) -> None:
        sent.report.sent_mono = time.monotonic()
        if not sent.report.sent(sent.progress, len(sent.lines)):
            self._reporting.pop(sent.lease.token, None)


def _due_mono(lease: Lease) -> float:
    return lease.report.sent_mono + GATHER_SECONDS if lease.report is not None else 0.0
