"""The process that fires the schedules: periodiq's frame, our calendar and our queues.

periodiq's own waking (SIGALRM, the process' time zone) and sending (no data, no id) are replaced; its loop stays. Each
slot has one job id, so that a second scheduler, or a restart within the minute, adds nothing. While Redis is away the
slots are kept and added when it is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import periodiq

from ..clock import Clock
from ..errors import NomadError, Unavailable
from ..log import get_logger
from ..metrics.definitions import SCHEDULER_HEARTBEAT
from ..queues import NewJob, Queues
from .schedules import Schedule

logger = get_logger("nomad_actors.scheduler")

#: The clock is looked at this often, so that a step of it, or a host that slept, is noticed.
LOOK_SECONDS = 15.0
#: How soon a slot that Redis did not take is tried again.
RETRY_SECONDS = 2.0
#: A start looks this far back, so that a restart at a full minute misses no slot.
LOOK_BACK = timedelta(seconds=60)


class SlotScheduler(periodiq.Scheduler):  # type: ignore[misc]  # periodiq ships no types
    """Adds a job for each due slot until it is stopped."""

    def __init__(self, queues: Queues, schedules: Sequence[Schedule], clock: Clock) -> None:
        super().__init__(actors=[])
        self._queues = queues
        self._schedules = [schedule for schedule in schedules if schedule.enabled]
        self._clock = clock
        self._seen_until = self._now() - LOOK_BACK
        self._owed: list[tuple[Schedule, datetime]] = []
        self._timer: threading.Timer | None = None

    def stop(self) -> None:
        """End the loop; safe in a signal handler."""
        self.alarm_q.put(False)

    def run(self) -> None:
        """Fire slots until `stop`."""
        self.schedule()
        self.loop()
        if self._timer is not None:
            self._timer.cancel()

    def schedule(self) -> None:
        """Fire what is due, then see to being woken for the next slot."""
        SCHEDULER_HEARTBEAT.set(time.time())
        now = self._now()
        for schedule in self._schedules:
            for due in schedule.cron.after(self._seen_until, schedule.zone):
                if due > now:
                    break
                self._owed.append((schedule, due))
        # A clock that was set back must not fire its slots again.
        self._seen_until = max(self._seen_until, now)
        self._owed = [(schedule, due) for schedule, due in self._owed if not self._fire(schedule, due)]
        self._wake_in(self._seconds_to_next())

    def _fire(self, schedule: Schedule, due: datetime) -> bool:
        """Add the slot's job; return whether the slot is dealt with."""
        job = NewJob(
            queue=schedule.queue,
            job_type=schedule.job_type,
            data=dict(schedule.data),
            job_id=schedule.slot_id(due),
            requested_by=f"schedule:{schedule.name}",
        )
        try:
            (added,) = self._queues.add_jobs([job], once=True)
        except Unavailable as error:
            logger.warning("slot not added, tried again soon", schedule=schedule.name, due=due, error=str(error))
            return False
        except NomadError as error:
            logger.error("slot refused", schedule=schedule.name, due=due, error=str(error))
            return True
        logger.info("slot added", schedule=schedule.name, due=due.isoformat(), job_id=added.id, state=added.state)
        return True

    def _seconds_to_next(self) -> float:
        if self._owed:
            return RETRY_SECONDS
        now = self._now()
        nearest = min((s.next_due(self._seen_until) for s in self._schedules), default=now + timedelta(days=1))
        return min(LOOK_SECONDS, max(0.0, (nearest - now).total_seconds()))

    def _wake_in(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self.alarm_q.put, args=(True,))
        self._timer.daemon = True
        self._timer.start()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
