"""Calls the hooks that middleware defines for ended runs, on the thread that settles and sends heartbeats.

That thread must survive whatever a hook raises, and an operator must learn which hook blocks it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from dramatiq import Broker

from ...logs.foreign_text import class_name
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.hooks")

#: A slower hook is named in the log, because heartbeats wait for it.
SLOW_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class RunningHook:
    """The hook that is running now."""

    name: str
    since_mono: float
    named: bool = False


class Hooks:
    """Calls the hooks of a broker's middleware for one session, one at a time, observed by the session's watch."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        #: Read by another thread, because this one cannot log while the hook blocks it.
        self.running: RunningHook | None = None

    def call(self, hook: str, argument: object) -> None:
        """Call the hook of each middleware that has it; an exception is logged, and the others are still called."""
        for middleware in reversed(self._broker.middleware):
            running = self.running = RunningHook(f"{hook} of {class_name(middleware)}", time.monotonic())
            try:
                found = getattr(middleware, hook, None)
                if found is not None:
                    found(self._broker, argument)
            except BaseException:
                logger.critical("Unexpected failure in %s.", running.name, exc_info=True)
            self.name_if_slow()
        self.running = None

    def name_if_slow(self) -> None:
        """Log the name of the running hook once, if it is slow; another thread calls this while the hook blocks."""
        running = self.running
        if running is None or running.named:
            return
        seconds = time.monotonic() - running.since_mono
        if seconds >= SLOW_SECONDS:
            running.named = True
            consequence = "no job is settled and no heartbeat is sent meanwhile"
            logger.warning("%s has taken %.1f s: %s", running.name, seconds, consequence)
