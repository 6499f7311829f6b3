"""Runs several programs as one: starts them, starts again what dies, and ends all of them with itself.

For `make run` on one host, and for the demo. Each program is a process group of its own, so that a Ctrl-C at the
terminal reaches us alone and we decide on the order of stopping; the kernel ends the programs should we be killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .log import get_logger
from .processes import end_with_parent
from .program import NEEDS_OPERATOR

logger = get_logger("nomad_actors.supervisor")

#: A program that lived this long before it died starts again at once.
STEADY_SECONDS = 30.0
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0
#: A program that says that somebody must act first (its line before this one) is tried again this slowly.
OPERATOR_BACKOFF_SECONDS = 60.0
POLL_SECONDS = 0.1
_NEEDS_OPERATOR = "cannot start until somebody acts on what it said; tried again slowly"


@dataclass
class _Child:
    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    restart: bool
    output: Path | None
    process: subprocess.Popen[bytes] | None = None
    started_mono: float = 0.0
    deaths: int = 0
    start_at_mono: float = 0.0
    last_code: int | None = None
    gave_up: bool = field(default=False)

    def start(self) -> None:
        stream: IO[bytes] | None = self.output.open("ab") if self.output else None
        try:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                # Holds for the thread that starts it: ours is one that outlives the program.
                preexec_fn=end_with_parent,
            )
        finally:
            if stream is not None:
                stream.close()
        self.started_mono = time.monotonic()

    def signal(self, number: int) -> None:
        """Send a signal to the program; SIGKILL goes to its whole group."""
        if self.process is None or self.process.poll() is not None:
            return
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)


class Supervisor:
    """Keeps programs running until it is stopped."""

    def __init__(self) -> None:
        self._children: list[_Child] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        restart: bool = True,
        output: Path | None = None,
    ) -> None:
        """Add a program; what it prints goes to the file `output`, else where ours goes."""
        self._children.append(_Child(name, command, environ, restart, output))

    def start(self) -> None:
        """Start the programs that do not run yet, in the order of adding, and watch them.

        Programs are started from the watching thread, which lives as long as they may.
        """
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._watch, name="nomad-supervisor", daemon=True)
        self._thread.start()

    def alive(self) -> dict[str, bool]:
        """Return whether each program runs now."""
        return {c.name: c.process is not None and c.process.poll() is None for c in self._children}

    def pids(self) -> dict[str, int]:
        """Return the process ids of the programs that were started."""
        return {c.name: c.process.pid for c in self._children if c.process is not None}

    def stop(self, timeout_seconds: float, *, at_once: Callable[[], bool] = lambda: False) -> None:
        """Ask every program to stop, the last added first; kill what is there after the timeout, or when `at_once`."""
        self._stopping.set()
        with self._lock:
            for child in reversed(self._children):
                child.signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_seconds
        while any(self.alive().values()) and time.monotonic() < deadline and not at_once():
            time.sleep(POLL_SECONDS / 2)
        self.kill()
        if self._thread is not None:
            self._thread.join()

    def kill(self) -> None:
        """End every program at once."""
        self._stopping.set()
        with self._lock:
            for child in self._children:
                if child.process is not None and child.process.poll() is None:
                    logger.warning("killed: it did not stop in time", program=child.name)
                    child.signal(signal.SIGKILL)
        for child in self._children:
            if child.process is not None:
                child.process.wait()

    def _watch(self) -> None:
        while True:
            with self._lock:
                if not self._stopping.is_set():
                    self._look()
            # The kernel ends the programs with this thread: it stays until they are gone.
            if self._stopping.is_set() and not any(self.alive().values()):
                return
            time.sleep(POLL_SECONDS)

    def _look(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is None:
                if now >= child.start_at_mono and not child.gave_up:
                    child.start()
                    logger.info("started", program=child.name, pid=child.process.pid if child.process else None)
            elif (code := child.process.poll()) is not None:
                self._bury(child, code, now)

    def _bury(self, child: _Child, code: int, now: float) -> None:
        """Say that a program ended, and when it will be started again."""
        steady = now - child.started_mono >= STEADY_SECONDS
        child.deaths = 1 if steady else child.deaths + 1
        child.process = None
        if not child.restart:
            child.gave_up = True
            logger.error("ended", program=child.name, code=code)
            return
        backoff = _backoff_seconds(code, child.deaths)
        child.start_at_mono = now + backoff
        if code not in NEEDS_OPERATOR:
            logger.error(
                "ended, starting again", program=child.name, code=code, in_seconds=backoff, deaths=child.deaths
            )
        elif code != child.last_code:
            # Once: the program's own line, which comes with each try, says what to do.
            logger.error(_NEEDS_OPERATOR, program=child.name, code=code, every_seconds=backoff)
        child.last_code = code


def _backoff_seconds(code: int, deaths: int) -> float:
    """Return how long to wait before a program that ended with `code` is started again."""
    if code in NEEDS_OPERATOR:
        return OPERATOR_BACKOFF_SECONDS
    doubled: float = FIRST_BACKOFF_SECONDS * 2 ** (deaths - 1)
    return min(MAX_BACKOFF_SECONDS, doubled)
