"""Calls what middleware defines for the ends of runs, on the thread that settles and sends heartbeats.

That thread must survive whatever a hook raises, and an operator must learn which hook keeps it from its work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ...logs.foreign_text import class_name
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.hooks")

#: A hook that takes longer is named in the log: heartbeats wait for it.
SLOW_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class RunningHook:
    """A hook that runs now."""

    name: str
    since_mono: float
    #: Whether it was named in the log.
    named: bool = False


class Hooks:
    """The hooks of a broker's middleware, as one session calls them: one at a time, and its watch looks at that one."""

    def __init__(self, middleware: Callable[[], Iterable[object]]) -> None:
        self._middleware = middleware
        #: Looked at by another thread, since this one cannot say that it stands still.
        self.running: RunningHook | None = None

    def call(self, hook: str, *arguments: Any) -> None:
        """Call the hook of each middleware that has it; what one raises is logged and keeps no other from its call."""
        for middleware in self._middleware():
            running = self.running = RunningHook(f"{hook} of {class_name(middleware)}", time.monotonic())
            try:
                found = getattr(middleware, hook, None)
                if found is not None:
                    found(*arguments)
            except BaseException:
                logger.critical("Unexpected failure in %s.", running.name, exc_info=True)
            self._name_if_slow(running)
        self.running = None

    def name_if_slow(self) -> None:
        """Name the hook that runs now in the log, once, if it is slow; called by another thread."""
        running = self.running
        if running is not None:
            self._name_if_slow(running)

    @staticmethod
    def _name_if_slow(running: RunningHook) -> None:
        seconds = time.monotonic() - running.since_mono
        if seconds >= SLOW_SECONDS and not running.named:
            running.named = True
            consequence = "nothing is settled and no heartbeat sent meanwhile"
            logger.warning("%s has taken %.1f s: %s", running.name, seconds, consequence)
