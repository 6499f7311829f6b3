"""Whether a scheduler may trust the time: its own clock against Redis', and Redis' against the time that has passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from ..clock import Clock
from ..logs import get_logger
from ..metrics.definitions import SCHEDULER_CLOCK_OFFSET, SCHEDULER_HOLDS

logger = get_logger("nomad_actors.scheduler")

#: Clocks that differ by more than this are not two readings of one time.
MAX_OFFSET_SECONDS = 5.0
#: How long Redis' clock must have run evenly after a jump.
SETTLE_SECONDS = 30.0


class ClockState(NamedTuple):
    """How a scheduler's clock stands: its distance from Redis', why it holds ('' for not), since when by Redis'."""

    offset_seconds: float
    holds: str
    holds_since_ms: float | None


class ClockWatch:
    """Compares the clocks at each look, and says why a scheduler should hold."""

    def __init__(self, clock: Clock, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._last: tuple[float, float] | None = None
        self._jumped_mono: float | None = None
        self._why = ""
        self._since_ms: float | None = None

    def look(self, redis_ms: float) -> ClockState:
        """Compare the clocks with Redis' time (ms); return how they stand."""
        mono, reckoning = self._monotonic(), self._clock.reckoning()
        offset_seconds = (self._clock.now_ms() - reckoning.of(redis_ms)) / 1000 / max(1.0, reckoning.speed)
        if self._last is not None:
            jump_seconds = (redis_ms - self._last[0]) / 1000 - (mono - self._last[1])
            if abs(jump_seconds) > MAX_OFFSET_SECONDS:
                self._jumped_mono = mono
                logger.error("Redis' clock jumped, or this host slept", jump_seconds=round(jump_seconds, 1))
        self._last = redis_ms, mono
        SCHEDULER_CLOCK_OFFSET.set(offset_seconds)
        why = self._reason(offset_seconds, mono)
        if not why or not self._why:
            self._since_ms = redis_ms if why else None
        self._say(why)
        return ClockState(offset_seconds, why, self._since_ms)

    def _reason(self, offset_seconds: float, mono: float) -> str:
        if abs(offset_seconds) > MAX_OFFSET_SECONDS:
            return f"this host's clock and Redis' differ by {offset_seconds:.1f} s"
        if self._jumped_mono is not None and mono - self._jumped_mono < SETTLE_SECONDS:
            return f"Redis' clock jumped; it must run evenly for {SETTLE_SECONDS:g} s first"
        self._jumped_mono = None
        return ""

    def _say(self, why: str) -> None:
        if why and why != self._why:
            logger.error("the scheduler holds: no slot is added until the clocks agree", why=why)
        elif self._why and not why:
            logger.info("the scheduler goes on: the clocks agree")
        self._why = why
        SCHEDULER_HOLDS.set(bool(why))
