"""Lines that many threads add and one thread writes, at most 50 ms late.

A plain logging call per job halves the number of jobs that a process can run; a list that is written out twenty times a
second costs next to nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from multiprocessing.util import Finalize

#: How long a line may lie before it is written.
FLUSH_SECONDS = 0.05
#: Lines kept while the log's reader stands still; some seconds' worth at full speed, some 15 MB.
CAPACITY = 50_000


class LineWriter:
    """Writes lines by a thread of its own between `open` and `close`, and at once before and after."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        say_lost: Callable[[int], str],
        flush_seconds: float = FLUSH_SECONDS,
        capacity: int = CAPACITY,
    ) -> None:
        self._write = write
        self._say_lost = say_lost
        self._flush_seconds = flush_seconds
        self._capacity = capacity
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._lost = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        # Keeps the order of what `flush` takes: two flushes at a time could swap their lines.
        self._writing = threading.Lock()

    def open(self) -> None:
        """Start the thread; what is unwritten when the process exits is written then."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="nomad-job-log", daemon=True)
            self._thread.start()
        # Runs at the exit of a multiprocessing child too, as Dramatiq's workers are; `atexit` would not.
        Finalize(None, self.flush, exitpriority=1)

    def add(self, lines: Sequence[str]) -> None:
        """Add finished lines; those for which there is no room are counted and said, not waited for."""
        with self._lock:
            if self._thread is not None:
                room = self._capacity - len(self._lines)
                self._lines.extend(lines[:room])
                self._lost += len(lines[room:])
                self._wake.set()
                return
        self._write("".join(lines))

    def flush(self) -> None:
        """Write what has been added so far."""
        with self._writing:
            with self._lock:
                lines, self._lines = self._lines, []
                lost, self._lost = self._lost, 0
                self._wake.clear()
            if lost:
                lines.append(self._say_lost(lost))
            if lines:
                self._write("".join(lines))

    def close(self) -> None:
        """Stop the thread and write what is left; lines added later are written at once."""
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
                # A stream of the application's: those lines are lost, the next ones may be written.
                continue
