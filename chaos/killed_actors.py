"""Actors for worker processes that are killed: they log when each job began and ended.

The log is on a separate Redis that is not killed.
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
RUN_LOG = "run-log"
#: Enough for all jobs: the timelines are read at the end.
KEPT = 20_000


def quiet(number: int) -> None:
    """Do nothing."""


def declare(broker: JobBroker, run_log: redis.Redis) -> None:
    """Declare the actors: one works for some milliseconds, one kills its process, three end at once."""

    def record(what: str, number: int) -> None:
        run_log.rpush(RUN_LOG, f"{what} {number} {os.getpid()} {time.time() * 1000:.3f}")

    def work(number: int, run_ms: float) -> None:
        record("began", number)
        time.sleep(run_ms / 1000)
        record("ended", number)

    def poison(number: int) -> None:
        record("began", number)
        os.kill(os.getpid(), signal.SIGKILL)

    def reporting(number: int) -> None:
        current_job().progress(number % 100, 100, "in progress")
        current_job().log(f"number {number}")

    def failing(number: int) -> None:
        raise ValueError(f"number {number} fails")

    broker.declare_queue(QUEUE, concurrency=8, retention=Retention(completed=KEPT))
    for plain in (quiet, reporting, failing):
        dramatiq.actor(plain, broker=broker, queue_name=QUEUE, max_retries=0)
    dramatiq.actor(work, broker=broker, queue_name=QUEUE, max_retries=0)
    dramatiq.actor(poison, broker=broker, queue_name=QUEUE, max_retries=0)


def broker() -> JobBroker:
    """Return the broker of a worker process, configured by its environment."""
    lease_ms = int(os.environ["CHAOS_LEASE_MS"])
    new_broker = JobBroker(url=os.environ["CHAOS_REDIS"], namespace="chaos", lease_ms=lease_ms, shutdown_ms=5_000)
    declare(new_broker, redis.Redis.from_url(os.environ["CHAOS_RUN_LOG"]))
    return new_broker
