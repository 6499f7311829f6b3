"""The jobs that the proofs run, and the books that are kept of them: each unit of work exactly once."""

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
#: How long after the trouble everything must have ended.
SETTLE_SECONDS = 60.0


class Books:
    """Counts what ran, by unit of work; safe between threads."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, unit: str) -> int:
        """Count one run of a unit; return how many there were."""
        with self._lock:
            self.ran[unit] += 1
            return self.ran[unit]


def declare(broker: JobBroker, books: Books) -> None:
    """Declare the actors: a first step that fails once, and a second step on another queue."""

    def first(number: int) -> int:
        time.sleep(0.002)
        if books.note(f"first {number}") == 1 and number % 3 == 0:
            raise ValueError("the first run of every third job fails")
        return number

    def second(number: int) -> None:
        books.note(f"second {number}")

    broker.declare_queue("first", concurrency=6)
    broker.declare_queue("second", concurrency=2)
    dramatiq.actor(first, broker=broker, queue_name="first", max_retries=3, min_backoff=5, max_backoff=20)
    dramatiq.actor(second, broker=broker, queue_name="second")


def expected_runs(number: int) -> dict[str, int]:
    """Return what the books must say of one job."""
    return {f"first {number}": 2 if number % 3 == 0 else 1, f"second {number}": 1}


class Producer:
    """Adds jobs until told to stop; remembers those that Redis answered for."""

    def __init__(self, broker: JobBroker, *, every_seconds: float) -> None:
        self.answered: list[int] = []
        self.refused: list[int] = []
        self._broker = broker
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Producer:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
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
                self.answered.append(number)
            except RedisUnavailable:
                # It may have been taken or not; only that it is not doubled can be asked of it.
                self.refused.append(number)
            number += 1


@contextmanager
def worker(broker: JobBroker) -> Iterator[Worker]:
    """Run a Dramatiq Worker for the time of a `with`."""
    running = Worker(broker, worker_threads=THREADS, worker_timeout=100)
    running.start()
    try:
        yield running
    finally:
        running.stop(timeout=10_000)


def settle(broker: JobBroker) -> None:
    """Wait until every queue is empty."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        counts = [broker.view(name).counts() for name in QUEUES]
        if not any(c.waiting + c.active + c.delayed for c in counts):
            return
        time.sleep(0.05)
    raise AssertionError(f"not empty {SETTLE_SECONDS:g} s after the trouble: {counts}")


def audit(books: Books, producer: Producer) -> str:
    """Check the books against what was added; return a sentence with the numbers."""
    lost = [n for n in producer.answered for unit in expected_runs(n) if books.ran[unit] == 0]
    doubled = [
        unit
        for n in producer.answered + producer.refused
        for unit, runs in expected_runs(n).items()
        if books.ran[unit] > runs
    ]
    assert not lost, f"lost: {lost[:10]} of {len(producer.answered)}"
    assert not doubled, f"ran too often: {doubled[:10]}"
    return f"{len(producer.answered)} jobs added, {len(producer.refused)} refused, none lost, none doubled"
