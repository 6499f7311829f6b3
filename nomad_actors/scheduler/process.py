"""The scheduler process: periodiq's loop with our calendar and our slots.

It replaces periodiq's timer (SIGALRM, the process' time zone) and its way to send jobs (no data, no id). Any number of
schedulers may run, since Redis decides the outcome of each slot. If slots were missed because Redis was down or no
scheduler ran, each schedule's misfire policy decides about them.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import periodiq

from ..clock import Clock
from ..errors import NomadError, Unavailable, UnreadableQueue
from ..logs import error_reports, get_logger
from ..logs.foreign_text import came_from_outside
from ..metrics.definitions import SCHEDULER_HEARTBEAT
from ..queues.schedules.schedule import JobSchedule
from ..version import __version__
from .book import Schedules
from .changes import ScheduleState
from .clock_watch import ClockWatch
from .due import Due, due_slots

logger = get_logger("nomad_actors.scheduler")

#: How often a scheduler checks for changed schedules. A start or stop takes effect within two seconds.
POLL_SECONDS = 1.6
#: How soon it tries again when Redis is down.
RETRY_SECONDS = 0.5
#: How often it sends a heartbeat and compares the clocks; how often it reloads all schedules even without a change.
BEAT_SECONDS = 15.0
RELOAD_SECONDS = 60.0
#: A scheduler that sent no heartbeat for this long is removed from the list.
FORGET_MS = 86_400_000


class SlotScheduler(periodiq.Scheduler):  # type: ignore[misc]  # periodiq ships no types
    """Adds a job for each due slot until it is stopped."""

    def __init__(self, schedules: Schedules, declared: Sequence[JobSchedule], clock: Clock) -> None:
        super().__init__(actors=[])
        self.name = f"{socket.gethostname()}:{os.getpid()}@{__version__}"
        self._schedules = schedules
        self._declared = tuple(declared)
        self._is_declared = False
        self._clock = clock
        self._watch = ClockWatch(clock)
        self._states: dict[str, ScheduleState] = {}
        #: For each schedule, when it is due next, and up to when its slots have been handled (ms).
        self._next_ms: dict[str, float] = {}
        self._watermark_ms: dict[str, float] = {}
        self._changes = -1
        self._loaded_mono = self._beat_mono = float("-inf")
        self._redis_is_down = False
        self._timer: threading.Timer | None = None

    def stop(self) -> None:
        """End the loop; safe to call in a signal handler."""
        self.alarm_q.put(False)

    def run(self) -> None:
        """Fire slots until `stop` is called."""
        self.schedule()
        self.loop()
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._schedules.book.leave(self.name)
        except Unavailable as error:
            logger.info("this scheduler could not be removed from Redis", error=str(error))

    def schedule(self) -> None:
        """Fire the slots that are due, then set the timer for the next one."""
        try:
            self._tick()
            if self._redis_is_down:
                logger.info("Redis is back")
            self._redis_is_down = False
        except Unavailable as error:
            if not self._redis_is_down:
                logger.warning("Redis is down; due slots are handled when it is back", error=str(error))
            self._redis_is_down = True
            self._loaded_mono = float("-inf")
        self._timer = threading.Timer(self._seconds_to_next(), self.alarm_q.put, args=(True,))
        self._timer.daemon = True
        self._timer.start()

    def _tick(self) -> None:
        changes, now_mono = self._declared_changes(), time.monotonic()
        if changes != self._changes or now_mono - self._loaded_mono >= RELOAD_SECONDS:
            self._load()
            self._changes, self._loaded_mono = changes, now_mono
        # Before each slot too: a clock that has just jumped must not make future slots due.
        if self._watch.suspended or self._has_due_slot() or now_mono - self._beat_mono >= BEAT_SECONDS:
            self._beat()
            self._beat_mono = now_mono
        if not self._watch.suspended:
            for state in list(self._states.values()):
                self._guarded(state, self._fire)
        SCHEDULER_HEARTBEAT.set(time.time())

    @staticmethod
    def _guarded(state: ScheduleState, step: Callable[[ScheduleState], None]) -> None:
        """Run one step for one schedule, so that its errors do not stop the other schedules."""
        try:
            step(state)
        except UnreadableQueue as error:
            logger.error("a schedule's queue cannot be read", schedule=state.schedule.name, error=str(error))
        except Unavailable:
            raise
        except BaseException as error:
            # Adding a job calls middleware, which is the application's own code.
            if came_from_outside(error):
                raise
            logger.exception("a schedule could not be fired", schedule=state.schedule.name)
            error_reports.report(error, {"schedule": state.schedule.name})

    def _declared_changes(self) -> int:
        """Return the number of changes to schedules. First declare the code's schedules if Redis does not have them."""
        changes = self._schedules.book.changes()
        if changes < self._changes:
            logger.warning("Redis has lost its schedules: they are declared again")
            # Reload in any case: the new count may happen to equal the old one.
            self._is_declared, self._loaded_mono, self._beat_mono = False, float("-inf"), float("-inf")
        if self._is_declared:
            return changes
        self._schedules.declare(self._declared)
        self._is_declared = True
        return self._schedules.book.changes()

    def _has_due_slot(self) -> bool:
        now_ms = self._clock.now_ms()
        return any(self._next_ms[name] <= now_ms for name, each in self._states.items() if each.schedule.enabled)

    def _load(self) -> None:
        before, self._states = self._states, {each.schedule.name: each for each in self._schedules.all()}
        for name, state in self._states.items():
            known = before.get(name)
            if known is None or known.stored.version != state.stored.version:
                logger.info(
                    "schedule",
                    schedule=name,
                    cron=state.schedule.expression,
                    timezone=state.schedule.timezone,
                    enabled=state.schedule.enabled,
                    version=state.stored.version,
                )
            self._next_ms[name] = float("inf")
            self._guarded(state, lambda state: self._advance_to(state, state.stored.watermark_ms))

    def _advance_to(self, state: ScheduleState, watermark_ms: float) -> None:
        self._watermark_ms[state.schedule.name] = watermark_ms
        self._next_ms[state.schedule.name] = next(state.schedule.due_ms_after(watermark_ms))

    def _beat(self) -> None:
        book, watch = self._schedules.book, self._watch
        redis_ms = book.redis_ms()
        watch.check(redis_ms)
        book.beat(
            self.name,
            redis_ms,
            forget_before_ms=redis_ms - FORGET_MS,
            offset_seconds=round(watch.offset_seconds, 3),
            suspended_reason=watch.suspended,
            suspended_since_ms=watch.suspended_since_ms,
        )

    def _fire(self, state: ScheduleState) -> None:
        schedule, now_ms = state.schedule, self._clock.now_ms()
        if not schedule.enabled:
            return
        if schedule.run_on_init and state.stored.init_version != state.stored.version:
            self._claim(state, Due([(now_ms, "")]), kind="init")
        if self._next_ms[schedule.name] > now_ms:
            return
        due = due_slots(schedule, self._watermark_ms[schedule.name], now_ms)
        if due.slots and self._claim(state, due):
            self._advance_to(state, due.slots[-1][0])

    def _claim(self, state: ScheduleState, due: Due, *, kind: str = "due") -> bool:
        """Claim slots; return True if they have been handled."""
        name = state.schedule.name
        try:
            claimed = self._schedules.claim(state, due, kind=kind)
        except Unavailable:
            raise
        except NomadError as error:
            logger.error("slots could not be claimed", schedule=name, error=str(error))
            error_reports.report(error, {"schedule": name})
            return True
        if claimed.word == "early":
            # Our clock is ahead, but by less than the limit for a suspension: Redis' clock decides.
            return False
        if claimed.word != "ok":
            # The schedule was changed, stopped or removed after we read it.
            self._loaded_mono = float("-inf")
            return False
        why = dict(due.slots)
        for due_ms, word in claimed.slots.items():
            at = datetime.fromtimestamp(due_ms / 1000, UTC).isoformat()
            if word == "added":
                logger.info(
                    "slot added", schedule=name, due=at, late_seconds=round((claimed.now_ms - due_ms) / 1000, 1)
                )
            elif word == "missed":
                reason = why[due_ms] or claimed.refused or "the previous run has not ended"
                logger.warning("slot missed", schedule=name, due=at, why=reason)
        if due.more_missed:
            logger.warning("slots missed", schedule=name, count=due.more_missed)
        if kind == "init":
            self._loaded_mono = float("-inf")
        return True

    def _seconds_to_next(self) -> float:
        speed = self._clock.conversion().speed
        if self._redis_is_down:
            return RETRY_SECONDS
        if self._watch.suspended or speed <= 0:
            return POLL_SECONDS
        enabled = [name for name, each in self._states.items() if each.schedule.enabled]
        nearest_ms = min((self._next_ms[name] for name in enabled), default=float("inf"))
        # A little later than due: Redis' clock may be slightly behind ours.
        to_wait = (nearest_ms - self._clock.now_ms()) / 1000 / speed + 0.005
        return min(POLL_SECONDS, max(0.005, to_wait))
