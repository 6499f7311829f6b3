"""Decides whether a scheduler may trust the time, by its own clock, Redis' clock and the elapsed time."""

from __future__ import annotations

import time

from ..clock import Clock
from ..logs import get_logger
from ..metrics.definitions import SCHEDULER_CLOCK_OFFSET, SCHEDULER_SUSPENDED

logger = get_logger("nomad_actors.scheduler")

#: Clocks that differ by more than this do not agree.
MAX_OFFSET_SECONDS = 5.0
#: How long Redis' clock must run evenly after a jump before it is trusted again.
SETTLE_SECONDS = 30.0


class ClockWatch:
    """Compares the clocks and decides whether a scheduler must be suspended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: tuple[float, float] | None = None
        self._jumped_mono: float | None = None
        self.offset_seconds = 0.0
        #: Why the scheduler must be suspended; empty if it need not be.
        self.suspended = ""
        #: In ms since the epoch, by Redis' clock.
        self.suspended_since_ms: float | None = None

    def check(self, redis_ms: float) -> None:
        """Compare the clocks, given Redis' current time (ms)."""
        mono, conversion = time.monotonic(), self._clock.conversion()
        self.offset_seconds = (self._clock.now_ms() - conversion.of(redis_ms)) / 1000 / max(1.0, conversion.speed)
        if self._last is not None:
            jump_seconds = (redis_ms - self._last[0]) / 1000 - (mono - self._last[1])
            if abs(jump_seconds) > MAX_OFFSET_SECONDS:
                self._jumped_mono = mono
                logger.error("Redis' clock jumped, or this host slept", jump_seconds=round(jump_seconds, 1))
        self._last = redis_ms, mono
        SCHEDULER_CLOCK_OFFSET.set(self.offset_seconds)
        why = self._reason(mono)
        if not why or not self.suspended:
            self.suspended_since_ms = redis_ms if why else None
        if why and why != self.suspended:
            logger.error("the scheduler is suspended: no job is added until the clocks agree", why=why)
        elif self.suspended and not why:
            logger.info("the scheduler continues: the clocks agree")
        self.suspended = why
        SCHEDULER_SUSPENDED.set(bool(why))

    def _reason(self, mono: float) -> str:
        if abs(self.offset_seconds) > MAX_OFFSET_SECONDS:
            return f"this host's clock and Redis' differ by {self.offset_seconds:.1f} s"
        if self._jumped_mono is not None and mono - self._jumped_mono < SETTLE_SECONDS:
            return f"Redis' clock jumped; it must run evenly for {SETTLE_SECONDS:g} s first"
        self._jumped_mono = None
        return ""
