"""The actors of the worker processes that are killed: they write down when they began and ended each job.

The books are on a Redis of their own that nobody kills.
"""

from __future__ import annotations

import os
import signal
import time

import dramatiq
import redis

from nomad_actors import current_job
from nomad_actors.broker import JobBroker, Retention

QUEUE = "chaos"
BOOKS = "books"
#: Every job's story is read in the end.
KEPT = 20_000


def quiet(number: int) -> None:
    """Do nothing."""


def declare(broker: JobBroker, books: redis.Redis) -> None:
    """Declare the actors: one that works for some milliseconds, one that kills its process, three that end at once."""

    def note(what: str, number: int) -> None:
        books.rpush(BOOKS, f"{what} {number} {os.getpid()} {time.time() * 1000:.3f}")

    def work(number: int, run_ms: float) -> None:
        note("began", number)
        time.sleep(run_ms / 1000)
        note("ended", number)

    def poison(number: int) -> None:
        note("began", number)
        os.kill(os.getpid(), signal.SIGKILL)

    def telling(number: int) -> None:
        current_job().progress(number % 100, 100, "on its way")
        current_job().log(f"number {number}")

    def failing(number: int) -> None:
        raise ValueError(f"number {number} fails")

    broker.declare_queue(QUEUE, concurrency=8, retention=Retention(completed=KEPT))
    for plain in (quiet, telling, failing):
        dramatiq.actor(plain, broker=broker, queue_name=QUEUE, max_retries=0)
    dramatiq.actor(work, broker=broker, queue_name=QUEUE, max_retries=0)
    dramatiq.actor(poison, broker=broker, queue_name=QUEUE, max_retries=0)


def broker() -> JobBroker:
    """Return the broker of a worker process, as its environment says."""
    lease_ms = int(os.environ["CHAOS_LEASE_MS"])
    made = JobBroker(url=os.environ["CHAOS_REDIS"], namespace="chaos", lease_ms=lease_ms, shutdown_ms=5_000)
    declare(made, redis.Redis.from_url(os.environ["CHAOS_BOOKS"]))
    return made
