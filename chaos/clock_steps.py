"""Redis' clock steps by an hour, ahead and behind, and back: nothing starts early, nothing is left behind."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from pathlib import Path

import dramatiq

from nomad_actors.broker import JobBroker

from .stepped_redis import SteppedRedis
from .workload import worker

HOUR_SECONDS = 3600
#: Delayed by this, a job must not start while the proof runs.
FAR_MS = 1_800_000
#: How soon after the last step everything that is due must have run.
SETTLE_SECONDS = 20.0
#: How early and how late a delayed job may start for a step of the clock.
EARLY_SECONDS, LATE_SECONDS = 8.0, 15.0


class Load:
    """Adds jobs, some of them delayed, and notes when each was meant to start and when it did."""

    def __init__(self, broker: JobBroker) -> None:
        self.due_mono: dict[int, float] = {}
        self.ran_mono: dict[int, list[float]] = {}
        self.far: list[int] = []
        self._lock = threading.Lock()
        broker.declare_queue("first", concurrency=6)
        self._actor = dramatiq.actor(self._run, actor_name="unit", broker=broker, queue_name="first", max_retries=0)

    def _run(self, number: int) -> None:
        with self._lock:
            self.ran_mono.setdefault(number, []).append(time.monotonic())

    def add(self, number: int, delay_ms: int) -> None:
        """Add one job."""
        if delay_ms == FAR_MS:
            self.far.append(number)
        self.due_mono[number] = time.monotonic() + delay_ms / 1000
        self._actor.send_with_options(args=(number,), delay=delay_ms or None)

    def missing(self) -> list[int]:
        """Return the jobs that have not run and should have."""
        return [number for number in self.due_mono if number not in self.ran_mono and number not in self.far]


def clock_steps(draw: random.Random, seconds: float, *, jobs: int = 0) -> str:
    """Step Redis' clock by an hour ahead, back, behind and back, while jobs come in; return what became of them."""
    span, jobs = max(2.0, seconds / 5), jobs or int(seconds * 60)
    with tempfile.TemporaryDirectory() as directory:
        server = SteppedRedis(Path(directory), dies_with_us=True)
        server.start()
        broker = JobBroker(url=server.url, namespace="chaos")
        try:
            load = Load(broker)
            steps = [0, HOUR_SECONDS, 0, -HOUR_SECONDS, 0]
            began, stepped = time.monotonic(), 0
            with worker(broker):
                for number in range(jobs):
                    at = began + number * 5 * span / jobs
                    while time.monotonic() < at:
                        time.sleep(0.002)
                    while stepped < int((time.monotonic() - began) / span) and stepped < len(steps) - 1:
                        stepped += 1
                        server.set_clock(steps[stepped])
                    load.add(number, draw.choice([0, 0, 0, 0, 500, 2000, 4000, FAR_MS]))
                ended = time.monotonic()
                while load.missing() and time.monotonic() < ended + 4 + SETTLE_SECONDS:
                    time.sleep(0.05)
                return verdict(load, broker)
        finally:
            broker.close()
            server.kill()


def verdict(load: Load, broker: JobBroker) -> str:
    """Check what ran against what should have; return a sentence with the numbers."""
    early = [number for number in load.far if number in load.ran_mono]
    missing, doubled = load.missing(), [n for n, runs in load.ran_mono.items() if len(runs) > 1]
    off = [load.ran_mono[n][0] - due for n, due in load.due_mono.items() if n in load.ran_mono and n not in load.far]
    counts = broker.view("first").counts()
    told = (
        f"{len(load.due_mono)} jobs, {len(load.far)} of them delayed by 30 minutes, of which {len(early)} started; "
        f"{len(missing)} of the others had not run ({counts.waiting} waiting, {counts.delayed} delayed); "
        f"{len(doubled)} ran twice; started {-min(off):.1f} s early at most, {max(off):.1f} s late at most"
    )
    assert not early + missing + doubled, told
    assert -EARLY_SECONDS <= min(off) <= max(off) <= LATE_SECONDS, told
    assert counts.delayed == len(load.far), told
    return told
