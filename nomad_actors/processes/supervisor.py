"""Runs several programs as one: starts them, restarts what dies, and ends all of them with itself.

For `make run` on one host, and for the demo. Each program is a process group of its own, so that a Ctrl-C at the
terminal reaches us alone and we decide on the order of stopping; the kernel ends the programs should we be killed.

A program that others need (a `Foundation`, such as Redis) is ready before those added after it start, also when all of
them died, and stops when they have ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..logs import get_logger
from .parent import Foundation, end_with_parent
from .program import NEEDS_OPERATOR

logger = get_logger("nomad_actors.processes.supervisor")

#: A program that lived this long before it died starts again at once.
STEADY_SECONDS = 30.0
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0
#: A program that says that somebody must act first (its line before this one) is tried again this slowly.
OPERATOR_BACKOFF_SECONDS = 60.0
POLL_SECONDS = 0.1
#: A program that others need is killed when its start has not got on for so long.
STUCK_SECONDS = 30.0
#: How long such a program may take to stop: it writes down what it holds.
FOUNDATION_STOP_SECONDS = 15.0
_ENDED_UNASKED = "it ended as if it had been stopped, but nobody stopped it"
_NEEDS_OPERATOR = "cannot start until somebody acts on what it said; tried again slowly"


@dataclass
class _Child:
    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    restart: bool
    output: Path | None
    foundation: Foundation | None
    pass_fds: tuple[int, ...]
    process: subprocess.Popen[bytes] | None = None
    #: Whether what was added after it may start.
    ready: bool = False
    progress: object = None
    progressed_mono: float = 0.0
    started_mono: float = 0.0
    deaths: int = 0
    start_at_mono: float = 0.0
    last_code: int | None = None
    gave_up: bool = False
    #: Whether we killed it because its start made no progress.
    stuck: bool = False
    #: Whether it is left alone from now on: it is being stopped.
    stopping: bool = False

    def start(self) -> None:
        stream: IO[bytes] | None = self.output.open("ab") if self.output else None
        self.started_mono = self.progressed_mono = time.monotonic()
        self.ready, self.progress, self.stuck = self.foundation is None, None, False
        try:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                pass_fds=self.pass_fds,
                # Holds for the thread that starts it: ours is one that outlives the program.
                preexec_fn=end_with_parent,
            )
        finally:
            if stream is not None:
                stream.close()

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

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
        foundation: Foundation | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        """Add a program; what it prints goes to the file `output`, else where ours goes.

        With `foundation` it is one that those added after it need.
        """
        self._children.append(_Child(name, command, environ, restart, output, foundation, pass_fds))

    def start(self) -> None:
        """Start the programs that do not run yet, in the order of adding, and watch them.

        Programs are started from the watching thread, which lives as long as they may.
        """
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._watch, name="nomad-supervisor", daemon=True)
        self._thread.start()

    def watches(self) -> bool:
        """Return whether the programs are watched: not before the start, nor after the end."""
        return self._thread is not None and self._thread.is_alive()

    def alive(self) -> dict[str, bool]:
        """Return whether each program runs now."""
        return {c.name: c.is_alive() for c in self._children}

    def pids(self) -> dict[str, int]:
        """Return the process ids of the programs that were started."""
        return {c.name: c.process.pid for c in self._children if c.process is not None}

    def stop(self, timeout_seconds: float, *, at_once: Callable[[], bool] = lambda: False) -> None:
        """Ask every program to stop, the last added first; kill what is there after the timeout, or when `at_once`.

        A program that others need is asked once they have ended, and gets 15 s of its own.
        """
        for group in self._in_stop_order():
            if any(child.foundation for child in group):
                self._stop(group, FOUNDATION_STOP_SECONDS)
            else:
                self._stop(group, timeout_seconds, at_once)
        if self._thread is not None:
            self._thread.join()

    def kill(self) -> None:
        """End every program at once."""
        for group in self._in_stop_order():
            self._kill(group)

    def _in_stop_order(self) -> Iterator[list[_Child]]:
        """Yield the programs that stop together, the last added first; one that others need by itself."""
        group: list[_Child] = []
        for child in reversed(self._children):
            if child.foundation is None:
                group.append(child)
            else:
                yield group
                yield [child]
                group = []
        yield group

    def _stop(
        self, group: Sequence[_Child], timeout_seconds: float, at_once: Callable[[], bool] = lambda: False
    ) -> None:
        with self._lock:
            for child in group:
                child.stopping = True
                child.signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_seconds
        while any(child.is_alive() for child in group) and time.monotonic() < deadline and not at_once():
            time.sleep(POLL_SECONDS / 2)
        self._kill(group)

    def _kill(self, group: Sequence[_Child]) -> None:
        with self._lock:
            for child in group:
                child.stopping = True
                if child.is_alive():
                    logger.warning("killed: it did not stop in time", program=child.name)
                    child.signal(signal.SIGKILL)
        for child in group:
            if child.process is not None:
                child.process.wait()

    def _watch(self) -> None:
        while True:
            with self._lock:
                self._look()
                # The kernel ends the programs with this thread: it stays until they are gone.
                if all(child.stopping and not child.is_alive() for child in self._children):
                    return
            time.sleep(POLL_SECONDS)

    def _look(self) -> None:
        may_start = True
        for child in self._children:
            if not child.stopping:
                self._look_at(child, may_start)
            may_start = may_start and child.ready

    def _look_at(self, child: _Child, may_start: bool) -> None:
        now = time.monotonic()
        if child.process is None:
            if may_start and now >= child.start_at_mono and not child.gave_up:
                self._start(child, now)
        elif (code := child.process.poll()) is not None:
            self._note_end(child, code, now)
        elif child.foundation is not None and not child.ready:
            self._note_progress(child, child.foundation)

    def _start(self, child: _Child, now: float) -> None:
        try:
            child.start()
        except (OSError, subprocess.SubprocessError) as error:
            # No process, memory or file to be had, or the program is gone: as if it had died at once.
            self._note_end(child, None, now, why=str(error))
        else:
            logger.info("started", program=child.name, pid=child.process.pid if child.process else None)

    def _note_progress(self, child: _Child, foundation: Foundation) -> None:
        assert child.process is not None
        state = foundation.readiness(child.process.pid)
        now = time.monotonic()
        child.ready = state.ready
        if state.progress != child.progress:
            child.progress, child.progressed_mono = state.progress, now
        elif not state.ready and now - child.progressed_mono > STUCK_SECONDS:
            logger.error("killed: its start makes no progress", program=child.name, after_seconds=STUCK_SECONDS)
            child.stuck = True
            child.signal(signal.SIGKILL)

    def _note_end(self, child: _Child, code: int | None, now: float, **how: object) -> None:
        """Log that a program ended, or could not be started (no code), and decide when it is started again."""
        steady = now - child.started_mono >= STEADY_SECONDS
        child.deaths = 1 if steady else child.deaths + 1
        child.process, child.ready = None, child.foundation is None
        if why := _why_ended(child, code):
            how.setdefault("why", why)
        if not child.restart:
            child.gave_up = True
            logger.error("ended", program=child.name, code=code, **how)
            return
        backoff = _backoff_seconds(code, child.deaths)
        child.start_at_mono = now + backoff
        if code not in NEEDS_OPERATOR:
            how |= {"in_seconds": backoff, "deaths": child.deaths}
            logger.error("ended, starting again", program=child.name, code=code, **how)
        elif steady or code != child.last_code:
            # Once, until it has run well: the program's own line, which comes with each try, says what to do.
            logger.error(_NEEDS_OPERATOR, program=child.name, code=code, every_seconds=backoff)
        child.last_code = code


def _why_ended(child: _Child, code: int | None) -> str | None:
    """Return why a program ended: the signal that killed it, else what it said itself; None if neither is known."""
    # What a program said last is no reason for a signal that we did not send.
    if code is not None and code < 0 and not child.stuck:
        memory = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"killed by {_signal_name(-code)}{memory}"
    if code == 0 and child.restart and child.foundation is None:
        return _ENDED_UNASKED
    return child.foundation.last_words() if child.foundation is not None else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # One of the real-time signals, most of which have no name.
        return f"signal {number}"


def _backoff_seconds(code: int | None, deaths: int) -> float:
    """Return how long to wait before a program that ended with `code` is started again."""
    if code in NEEDS_OPERATOR:
        return OPERATOR_BACKOFF_SECONDS
    # What has died for hours would be beyond a float.
    doubled: float = FIRST_BACKOFF_SECONDS * 2 ** min(deaths - 1, 10)
    return min(MAX_BACKOFF_SECONDS, doubled)
