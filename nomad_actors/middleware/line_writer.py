"""Collects lines from many threads and writes them on one thread, at most 50 ms late.

One logging call per job halves the number of jobs that a process can run; writing a list twenty times a second costs
almost nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from multiprocessing.util import Finalize

#: The longest time before an added line is written.
FLUSH_SECONDS = 0.05
#: How many lines are kept while the log reader is blocked: some seconds at full speed, about 15 MB.
CAPACITY = 50_000


class LineWriter:
    """Writes lines on its own thread between `open` and `close`, and directly before and after that.

    `format_lost` returns the line that reports how many lines were dropped.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        format_lost: Callable[[int], str],
        flush_seconds: float = FLUSH_SECONDS,
        capacity: int = CAPACITY,
    ) -> None:
        self._write = write
        self._format_lost = format_lost
        self._flush_seconds = flush_seconds
        self._capacity = capacity
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._lost = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        # Keeps the lines in order: two flushes at the same time could swap theirs.
        self._writing = threading.Lock()

    def open(self) -> None:
        """Start the thread. Lines that are unwritten when the process exits are written then."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="nomad-job-log", daemon=True)
            self._thread.start()
        # Runs at the exit of a multiprocessing child too, such as Dramatiq's workers; `atexit` does not.
        Finalize(None, self.flush, exitpriority=1)

    def add(self, lines: Sequence[str]) -> None:
        """Add finished lines without blocking. Lines beyond the capacity are dropped, and their number is written."""
        with self._lock:
            if self._thread is not None:
                room = self._capacity - len(self._lines)
                self._lines.extend(lines[:room])
                self._lost += len(lines[room:])
                self._wake.set()
                return
        self._write("".join(lines))

    def flush(self) -> None:
        with self._writing:
            with self._lock:
                lines, self._lines = self._lines, []
                lost, self._lost = self._lost, 0
                self._wake.clear()
            if lost:
                lines.append(self._format_lost(lost))
            if lines:
                self._write("".join(lines))

    def close(self) -> None:
        """Stop the thread and write the remaining lines; lines added later are written directly."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            self._wake.set()
            thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._stop.wait(self._flush_seconds)
            try:
                self.flush()
            except BaseException:
                # The application's stream failed: these lines are lost, but the next ones may succeed.
                continue
