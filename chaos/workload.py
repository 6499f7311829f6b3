"""The jobs of the proofs, and a log of their runs: each unit of work must run exactly once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
from dramatiq import Worker

from nomad_actors.broker import JobBroker, RedisUnavailable

THREADS = 8
QUEUES = ("first", "second")
#: All jobs must have ended this long after the last fault.
SETTLE_SECONDS = 60.0


class RunLog:
    """Counts runs by unit of work; thread-safe."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self._lock = threading.Lock()

    def record(self, unit: str) -> int:
        """Count one run of a unit; return the count so far."""
        with self._lock:
            self.ran[unit] += 1
            return self.ran[unit]


def declare(broker: JobBroker, run_log: RunLog) -> None:
    """Declare two actors: a first step that sometimes fails once, and a second step on another queue."""

    def first(number: int) -> int:
        time.sleep(0.002)
        if run_log.record(f"first {number}") == 1 and number % 3 == 0:
            raise ValueError("the first run of every third job fails")
        return number

    def second(number: int) -> None:
        run_log.record(f"second {number}")

    broker.declare_queue("first", concurrency=6)
    broker.declare_queue("second", concurrency=2)
    dramatiq.actor(first, broker=broker, queue_name="first", max_retries=3, min_backoff=5, max_backoff=20)
    dramatiq.actor(second, broker=broker, queue_name="second")


def expected_runs(number: int) -> dict[str, int]:
    """Return the expected runs of one job by unit."""
    return {f"first {number}": 2 if number % 3 == 0 else 1, f"second {number}": 1}


class Producer:
    """Adds jobs until it is stopped, and records which ones Redis accepted."""

    def __init__(self, broker: JobBroker, *, every_seconds: float) -> None:
        self.accepted: list[int] = []
        self.uncertain: list[int] = []
        self._broker = broker
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Producer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Add no more jobs."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        first, second = self._broker.get_actor("first"), self._broker.get_actor("second")
        number = 0
        while not self._stop.wait(self._every_seconds):
            pipeline = first.message(number) | second.message()
            try:
                self._broker.enqueue(pipeline.messages[0])
                self.accepted.append(number)
            except RedisUnavailable:
                # It may have been added or not; it only must not be doubled.
                self.uncertain.append(number)
            number += 1


@contextmanager
def worker(broker: JobBroker) -> Iterator[Worker]:
    """Run a Dramatiq Worker inside a `with` block."""
    running = Worker(broker, worker_threads=THREADS, worker_timeout=100)
    running.start()
    try:
        yield running
    finally:
        running.stop(timeout=10_000)


def wait_until_empty(broker: JobBroker) -> None:
    """Wait until every queue is empty."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        counts = [broker.view(name).counts() for name in QUEUES]
        if not any(c.waiting + c.active + c.delayed for c in counts):
            return
        time.sleep(0.05)
    raise AssertionError(f"not empty {SETTLE_SECONDS:g} s after the last fault: {counts}")


def check_runs(run_log: RunLog, producer: Producer) -> str:
    """Compare the run log with the added jobs; return a summary."""
    lost = [n for n in producer.accepted for unit in expected_runs(n) if run_log.ran[unit] == 0]
    doubled = [
        unit
        for n in producer.accepted + producer.uncertain
        for unit, runs in expected_runs(n).items()
        if run_log.ran[unit] > runs
    ]
    assert not lost, f"lost: {lost[:10]} of {len(producer.accepted)}"
    assert not doubled, f"ran too often: {doubled[:10]}"
    return f"{len(producer.accepted)} jobs added, {len(producer.uncertain)} got an error, none lost, none doubled"
