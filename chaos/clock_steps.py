"""Redis' clock steps ahead and back by an hour: nothing starts early, nothing is left behind."""

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
#: A job with this delay must not start during the proof.
FAR_MS = 1_800_000
#: All due jobs must have run this long after the last step.
SETTLE_SECONDS = 20.0
#: How early and how late a delayed job may start because of a clock step.
EARLY_SECONDS, LATE_SECONDS = 8.0, 15.0


class Load:
    """Adds jobs, some of them delayed, and records when each was due and when it started."""

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
        """Return the jobs that should have run but have not."""
        return [number for number in self.due_mono if number not in self.ran_mono and number not in self.far]


def clock_steps(draw: random.Random, seconds: float, *, jobs: int = 0) -> str:
    """Set Redis' clock an hour ahead, right, an hour behind and right, while jobs are added; return a summary."""
    span, jobs = max(2.0, seconds / 5), jobs or int(seconds * 60)
    with tempfile.TemporaryDirectory() as directory:
        server = SteppedRedis(Path(directory), ends_with_parent=True)
        server.start()
        broker = JobBroker(url=server.url, namespace="chaos")
        try:
            load = Load(broker)
            steps = [0, HOUR_SECONDS, 0, -HOUR_SECONDS, 0]
            began, stepped = time.monotonic(), 0
            with worker(broker):
                for number in range(jobs):
                    add_at = began + number * 5 * span / jobs
                    while time.monotonic() < add_at:
                        time.sleep(0.002)
                    while stepped < int((time.monotonic() - began) / span) and stepped < len(steps) - 1:
                        stepped += 1
                        server.set_clock(steps[stepped])
                    load.add(number, draw.choice([0, 0, 0, 0, 500, 2000, 4000, FAR_MS]))
                ended = time.monotonic()
                while load.missing() and time.monotonic() < ended + 4 + SETTLE_SECONDS:
                    time.sleep(0.05)
                return check_runs(load, broker)
        finally:
            broker.close()
            server.kill()


def check_runs(load: Load, broker: JobBroker) -> str:
    """Compare the jobs that ran with those that should have; return a summary."""
    early = [number for number in load.far if number in load.ran_mono]
    missing, doubled = load.missing(), [n for n, runs in load.ran_mono.items() if len(runs) > 1]
    offsets = [
        load.ran_mono[n][0] - due for n, due in load.due_mono.items() if n in load.ran_mono and n not in load.far
    ]
    counts = broker.view("first").counts()
    summary = (
        f"{len(load.due_mono)} jobs, {len(load.far)} of them delayed by 30 minutes, of which {len(early)} started; "
        f"{len(missing)} of the others had not run ({counts.waiting} waiting, {counts.delayed} delayed); "
        f"{len(doubled)} ran twice; started {-min(offsets):.1f} s early at most, {max(offsets):.1f} s late at most"
    )
    assert not early + missing + doubled, summary
    assert -EARLY_SECONDS <= min(offsets) <= max(offsets) <= LATE_SECONDS, summary
    assert counts.delayed == len(load.far), summary
    return summary
