"""Looks whether the threads live that a worker cannot do without, and whether they get on with their work.

They guard themselves against whatever the application raises on them. Should one end nevertheless, or stand still, its
worker would look alive and do nothing: it is ended instead (`broken`).
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .hooks import Hooks
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.watch")

LOOK_SECONDS = 1.0
#: Looks after which a thread that has not got on is beyond hope; far more than a lease takes to be lost. Looks and not
#: seconds: a process that was frozen for hours has looked only once.
LOOKS_WITHOUT_PROGRESS = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker cannot go on: in words, and what its thread ended by, when something was raised."""

    reason: str
    error: BaseException | None = None


class Watch:
    """Watches a session's threads, by a thread of its own; `broken` is told once what is wrong.

    `turn` returns the number of the pump's turn, or None while it waits for something to do; `cause` what ended a
    thread.
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
        self._looks = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nomad-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no longer."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            try:
                self._hooks.name_if_slow()
                failure = self._look()
            except BaseException:
                logger.critical("the worker's threads could not be looked at", exc_info=True)
                continue
            if failure is not None and not self._closed.is_set():
                self._broken(failure)
                return

    def _look(self) -> Failure | None:
        for thread in self._threads():
            if not thread.is_alive():
                return Failure(f"its thread {thread.name} ended", self._cause())
        turn = self._turn()
        self._looks = self._looks + 1 if turn is not None and turn == self._last_turn else 0
        self._last_turn = turn
        if self._looks < LOOKS_WITHOUT_PROGRESS:
            return None
        pump = self._threads()[0]
        where = self._hooks.running
        doing = f" in {where.name}" if where is not None else ""
        logger.critical("where %s stands still:\n%s", pump.name, _stack(pump))
        return Failure(f"its thread {pump.name} has stood still for {self._looks * LOOK_SECONDS:.0f} s{doing}")


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else "(unknown)"
