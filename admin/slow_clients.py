"""Clients that send slowly, or nothing: each holds one of few threads while its request is read.

A thread reads a whole request, so a handful of slow senders would keep everybody else out. A request that takes too
long loses the right to send more: what is read of it then ends, and one that was read whole is still answered.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

#: How long a request may be sent for, and how long while no thread is free.
SEND_SECONDS = 15.0
CROWDED_SECONDS = 1.0
_LOOK_SECONDS = 0.2


class Watch:
    """Looks at the connections that hold a thread, and ends the sending of those that held it too long."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._held: dict[socket.socket, float] = {}

    @contextlib.contextmanager
    def over(self, connection: socket.socket) -> Iterator[None]:
        """Watch a connection while it holds a thread."""
        with self._lock:
            self._held[connection] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(connection, None)

    def run(self) -> None:
        """Look, for as long as the process lives."""
        while True:
            time.sleep(_LOOK_SECONDS)
            self.look(time.monotonic())

    def look(self, now_mono: float) -> None:
        """End the sending of every connection that took too long."""
        with self._lock:
            seconds = CROWDED_SECONDS if len(self._held) >= self._threads else SEND_SECONDS
            for connection, since_mono in self._held.items():
                if now_mono - since_mono > seconds:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RD)


class Worker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's worker of threads, watched."""

    def init_process(self) -> None:
        """Begin to watch, in the process that serves."""
        self._watch = Watch(self.cfg.threads)
        threading.Thread(target=self._watch.run, name="slow clients", daemon=True).start()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """Handle a request, watched."""
        with self._watch.over(conn.sock):
            return super().handle(conn)
