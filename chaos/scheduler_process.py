"""One scheduler of the proof that kills, freezes and missets them; its clock is a fast one that a signal steps."""

from __future__ import annotations

import os
import signal
import sys

from nomad_actors.broker import JobBroker
from nomad_actors.clock import Clock, FastClock, Reckoning
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.queues import Queues
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.scheduler import JobSchedule, Schedules, SlotScheduler
from nomad_actors.settings import Settings

#: By how much SIGUSR1 missets the clock, ms of it; SIGUSR2 sets it right.
STEP_MS = 86_400_000


class Tick(Payload):
    """Nothing."""


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


class MissetClock:
    """A clock that is stepped by signals; everybody else reckons it as it was meant."""

    def __init__(self, meant: FastClock) -> None:
        self._meant = meant
        self.step_ms = 0

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return self._meant.now_ms() + self.step_ms

    def reckoning(self) -> Reckoning:
        """Return how it was meant."""
        return self._meant.reckoning()


def queues_on(url: str, clock: Clock) -> Queues:
    """Return the queues of an application with one job type."""
    queues = Queues(JobBroker(url=url, namespace="chaos"), settings=Settings(), clock=clock)
    queues.register(TICK)
    return queues


def main() -> None:
    """Fire the schedule until SIGTERM."""
    end_with_parent()
    url, since_ms, at_ms, speed = sys.argv[1], *map(float, sys.argv[2:])
    clock = MissetClock(FastClock(since_ms, at_ms, speed))
    scheduler = SlotScheduler(Schedules(queues_on(url, clock), clock), [EVERY_MINUTE], clock)

    def misset(number: int, _: object) -> None:
        # By turns ahead and behind, told by the process' number.
        clock.step_ms = (STEP_MS if os.getpid() % 2 else -STEP_MS) if number == signal.SIGUSR1 else 0

    signal.signal(signal.SIGUSR1, misset)
    signal.signal(signal.SIGUSR2, misset)
    signal.signal(signal.SIGTERM, lambda *_: scheduler.stop())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    scheduler.run()


if __name__ == "__main__":
    main()
