"""One scheduler for the proof that disturbs schedulers; its clock is fast, and signals step it."""

from __future__ import annotations

import os
import signal
import sys
import time

from nomad_actors.broker import JobBroker
from nomad_actors.clock import Clock, TimeConversion
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.queues import Queues
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.scheduler import JobSchedule, Schedules, SlotScheduler
from nomad_actors.settings import Settings

#: How far SIGUSR1 steps the clock, ms of its own time; SIGUSR2 corrects it.
STEP_MS = 86_400_000


class Tick(Payload):
    """An empty payload."""


def tick(payload: Tick) -> Result:
    """Do nothing."""
    return Result()


TICK = JobType(name="tick", queue="ticks", payload=Tick, result=Result, run=tick)
EVERY_MINUTE = JobSchedule(
    name="every-minute",
    description="",
    expression="* * * * *",
    queue="ticks",
    job_type="tick",
    data={},
    misfire="all",
    max_lateness_seconds=None,
)


class FastClock:
    """A clock that runs `speed` times as fast as real time, for simulating days in minutes."""

    def __init__(self, since_ms: float, at_ms: float, speed: float) -> None:
        self._reckoning = TimeConversion(since_ms, at_ms, speed)

    def now_ms(self) -> int:
        return int(self._reckoning.of(time.time_ns() / 1_000_000))

    def conversion(self) -> TimeConversion:
        return self._reckoning


class SteppedClock:
    """A clock that signals step; its `reckoning` stays that of the true clock."""

    def __init__(self, true_clock: FastClock) -> None:
        self._true_clock = true_clock
        self.step_ms = 0

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return self._true_clock.now_ms() + self.step_ms

    def conversion(self) -> TimeConversion:
        """Return the reckoning of the true clock."""
        return self._true_clock.conversion()


def queues_on(url: str, clock: Clock) -> Queues:
    """Return queues with one job type."""
    queues = Queues(JobBroker(url=url, namespace="chaos"), settings=Settings(), clock=clock)
    queues.register(TICK)
    return queues


def main() -> None:
    """Fire the schedule until SIGTERM."""
    end_with_parent()
    url, since_ms, at_ms, speed = sys.argv[1], *map(float, sys.argv[2:])
    clock = SteppedClock(FastClock(since_ms, at_ms, speed))
    scheduler = SlotScheduler(Schedules(queues_on(url, clock)), [EVERY_MINUTE], clock)

    def step_clock(number: int, _: object) -> None:
        # Ahead or behind, depending on the process id.
        clock.step_ms = (STEP_MS if os.getpid() % 2 else -STEP_MS) if number == signal.SIGUSR1 else 0

    signal.signal(signal.SIGUSR1, step_clock)
    signal.signal(signal.SIGUSR2, step_clock)
    signal.signal(signal.SIGTERM, lambda *_: scheduler.stop())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    scheduler.run()


if __name__ == "__main__":
    main()
