"""Checks that a worker's essential threads are alive and make progress, and ends a worker that cannot go on.

They catch whatever the application raises on them. If one ends or hangs nevertheless, its worker would look alive and
do nothing. Dramatiq's command line gives a worker its own process: that process exits at once, with a code other than
0, so that its supervisor starts another. A Worker inside an application's process is only stopped: the process may do
more than run jobs, and may start another Worker. In both cases the running jobs cannot be settled; the heartbeats have
stopped, and other workers take these jobs over within a lease.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dramatiq import Worker
from dramatiq.middleware import Shutdown

from .hooks import Hooks
from .interrupts import strike
from .steady_log import get_logger

if TYPE_CHECKING:
    from .session import Session

logger = get_logger("nomad_actors.broker.worker.watch")

#: EX_SOFTWARE of sysexits.h.
EXIT_BROKEN = 70
#: How long middleware may take to save its data.
FLUSH_SECONDS = 5.0

CHECK_SECONDS = 1.0
#: The number of checks without progress after which a thread has hung; a lease is lost much earlier. Checks and not
#: seconds, because a process that was frozen for hours has checked only once.
CHECKS_WITHOUT_PROGRESS = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker cannot go on, and the error that ended its thread, if there is one."""

    reason: str
    error: BaseException | None = None


class Watch:
    """Watches a session's threads from its own thread; calls `broken` once with the failure.

    `turn` returns the number of the pump's turn, or None while it waits for something to do; `cause` returns the error
    that ended a thread.
    """

    def __init__(
        self,
        *,
        threads: Callable[[], Sequence[threading.Thread]],
        turn: Callable[[], int | None],
        cause: Callable[[], BaseException | None],
        hooks: Hooks,
        broken: Callable[[Failure], None],
    ) -> None:
        self._threads = threads
        self._turn = turn
        self._cause = cause
        self._hooks = hooks
        self._broken = broken
        self._last_turn: int | None = None
        self._checks = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nomad-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(CHECK_SECONDS):
            try:
                self._hooks.name_if_slow()
                failure = self._check()
            except BaseException:
                logger.critical("the worker's threads could not be checked", exc_info=True)
                continue
            if failure is not None and not self._closed.is_set():
                self._broken(failure)
                return

    def _check(self) -> Failure | None:
        for thread in self._threads():
            if not thread.is_alive():
                return Failure(f"its thread {thread.name} ended", self._cause())
        turn = self._turn()
        self._checks = self._checks + 1 if turn is not None and turn == self._last_turn else 0
        self._last_turn = turn
        if self._checks < CHECKS_WITHOUT_PROGRESS:
            return None
        pump = self._threads()[0]
        hook = self._hooks.running
        during = f" in {hook.name}" if hook is not None else ""
        logger.critical("stack of %s, which hangs:\n%s", pump.name, _stack(pump))
        return Failure(f"its thread {pump.name} has hung for {self._checks * CHECK_SECONDS:.0f} s{during}")


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else "(unknown)"


def end_process(flush: Callable[[], None]) -> None:
    """Exit this process with `EXIT_BROKEN` after calling `flush`, which may take a few seconds."""

    def finish() -> None:
        try:
            flush()
        finally:
            logging.shutdown()

    flushing = threading.Thread(target=finish, name="nomad-flush", daemon=True)
    flushing.start()
    flushing.join(FLUSH_SECONDS)
    # Not `sys.exit`, which ends only a thread: the broken one may keep the main thread from ending.
    os._exit(EXIT_BROKEN)


def stop_worker(worker: Worker, session: Session) -> None:
    """Stop a Worker inside an application's process and interrupt its running jobs."""
    for lease in session.running():
        strike(lease, Shutdown)
    try:
        worker.stop(timeout=int(FLUSH_SECONDS * 1000))
    except BaseException:
        logger.critical("the broken worker did not stop", exc_info=True)
