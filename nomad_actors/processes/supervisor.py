"""Runs several programs together: starts them, restarts those that exit, and stops all of them when it ends.

Used by `make run` on one host and by the demo. Each program has its own process group, so that Ctrl-C in the terminal
reaches only us and we decide the order of stopping; if we are killed, the kernel kills the programs.

A program that others need (a `Dependency`, such as Redis) must be ready before the programs added after it start, also
after a restart, and it stops after they have ended.
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
from .parent import Dependency, end_with_parent
from .program import NEEDS_OPERATOR

logger = get_logger("nomad_actors.processes.supervisor")

#: The backoff of a program is reset after it has run for this long.
STEADY_SECONDS = 30.0
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0
#: Backoff of a program whose exit code says that an operator must act first; its own last line says what to do.
OPERATOR_BACKOFF_SECONDS = 60.0
POLL_SECONDS = 0.1
#: A starting program that others need is killed after this time without progress.
STUCK_SECONDS = 30.0
#: How long such a program may take to stop: it has to save its data.
FOUNDATION_STOP_SECONDS = 15.0


@dataclass
class _Child:
    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    restart: bool
    output: Path | None
    dependency: Dependency | None
    pass_fds: tuple[int, ...]
    process: subprocess.Popen[bytes] | None = None
    #: Whether the programs added after it may start.
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
    #: Whether it is being stopped, so that it is not restarted.
    stopping: bool = False

    def start(self) -> None:
        stream: IO[bytes] | None = self.output.open("ab") if self.output else None
        self.started_mono = self.progressed_mono = time.monotonic()
        self.ready, self.progress, self.stuck = self.dependency is None, None, False
        try:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                pass_fds=self.pass_fds,
                # This is about the starting thread: ours lives longer than the program.
                preexec_fn=end_with_parent,
            )
        finally:
            if stream is not None:
                stream.close()

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the program; SIGKILL goes to its process group."""
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
        dependency: Dependency | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        """Add a program; its output goes to the file `output`, or to ours by default.

        With `dependency`, the programs added after it need it.
        """
        self._children.append(_Child(name, command, environ, restart, output, dependency, pass_fds))

    def start(self) -> None:
        """Start the programs in the order in which they were added, and watch them.

        The watching thread starts them, because it must live at least as long as they do.
        """
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._watch, name="nomad-supervisor", daemon=True)
        self._thread.start()

    def watches(self) -> bool:
        """Return whether the programs are watched, which is between start and end."""
        return self._thread is not None and self._thread.is_alive()

    def alive(self) -> dict[str, bool]:
        """Return whether each program is running now."""
        return {c.name: c.is_alive() for c in self._children}

    def pids(self) -> dict[str, int]:
        """Return the process ids of the started programs."""
        return {c.name: c.process.pid for c in self._children if c.process is not None}

    def stop(self, timeout_seconds: float, *, at_once: Callable[[], bool] = lambda: False) -> None:
        """Stop every program, the last added first; kill those left after the timeout, or once `at_once` returns True.

        A program that others need is stopped after them, and gets another 15 s.
        """
        for group in self._in_stop_order():
            if any(child.dependency for child in group):
                self._stop(group, FOUNDATION_STOP_SECONDS, lambda: False)
            else:
                self._stop(group, timeout_seconds, at_once)
        if self._thread is not None:
            self._thread.join()

    def kill(self) -> None:
        for group in self._in_stop_order():
            self._kill(group)

    def _in_stop_order(self) -> Iterator[list[_Child]]:
        """Yield the groups of programs that stop together, the last added first; a `Dependency` is a separate group."""
        group: list[_Child] = []
        for child in reversed(self._children):
            if child.dependency is None:
                group.append(child)
            else:
                yield group
                yield [child]
                group = []
        yield group

    def _stop(self, group: Sequence[_Child], timeout_seconds: float, at_once: Callable[[], bool]) -> None:
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
                self._check_all()
                # The kernel kills the programs when this thread ends: it stays until they are gone.
                if all(child.stopping and not child.is_alive() for child in self._children):
                    return
            time.sleep(POLL_SECONDS)

    def _check_all(self) -> None:
        may_start = True
        for child in self._children:
            if not child.stopping:
                self._check(child, may_start)
            may_start = may_start and child.ready

    def _check(self, child: _Child, may_start: bool) -> None:
        now = time.monotonic()
        if child.process is None:
            if may_start and now >= child.start_at_mono and not child.gave_up:
                self._start(child, now)
        elif (code := child.process.poll()) is not None:
            self._note_end(child, code, now)
        elif child.dependency is not None and not child.ready:
            self._note_progress(child, child.dependency)

    def _start(self, child: _Child, now: float) -> None:
        try:
            child.start()
        except (OSError, subprocess.SubprocessError) as error:
            # No process, memory or file available, or the program is gone: handle it as an immediate exit.
            self._note_end(child, None, now, why=str(error))
        else:
            logger.info("started", program=child.name, pid=child.process.pid if child.process else None)

    def _note_progress(self, child: _Child, dependency: Dependency) -> None:
        assert child.process is not None
        state = dependency.readiness(child.process.pid)
        now = time.monotonic()
        child.ready = state.ready
        if state.progress != child.progress:
            child.progress, child.progressed_mono = state.progress, now
        elif not state.ready and now - child.progressed_mono > STUCK_SECONDS:
            logger.error("killed: its start makes no progress", program=child.name, after_seconds=STUCK_SECONDS)
            child.stuck = True
            child.signal(signal.SIGKILL)

    def _note_end(self, child: _Child, code: int | None, now: float, **how: object) -> None:
        """Log that a program ended, or could not be started (no code), and schedule its restart."""
        steady = now - child.started_mono >= STEADY_SECONDS
        child.deaths = 1 if steady else child.deaths + 1
        child.process, child.ready = None, child.dependency is None
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
            logger.error("ended, restarting", program=child.name, code=code, **how)
        elif steady or code != child.last_code:
            # Logged once until it has run steadily: the program logs at each start what to do.
            event = "cannot start until an operator acts on its message; retrying slowly"
            logger.error(event, program=child.name, code=code, every_seconds=backoff)
        child.last_code = code


def _why_ended(child: _Child, code: int | None) -> str | None:
    """Return why a program ended: the signal that killed it, or its own last message; None if neither is known."""
    # The last message does not explain a signal that we did not send.
    if code is not None and code < 0 and not child.stuck:
        memory = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"killed by {_signal_name(-code)}{memory}"
    if code == 0 and child.restart and child.dependency is None:
        return "it ended as if it had been stopped, but nobody stopped it"
    return child.dependency.last_log_lines() if child.dependency is not None else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Most real-time signals have no name.
        return f"signal {number}"


def _backoff_seconds(code: int | None, deaths: int) -> float:
    """Return the delay before a program that ended with `code` is restarted."""
    if code in NEEDS_OPERATOR:
        return OPERATOR_BACKOFF_SECONDS
    # Without the limit, hours of restarts would overflow a float.
    doubled: float = FIRST_BACKOFF_SECONDS * 2 ** min(deaths - 1, 10)
    return min(MAX_BACKOFF_SECONDS, doubled)
