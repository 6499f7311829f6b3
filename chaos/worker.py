"""A worker process for the proofs that kill it: it writes down when it began and ended each job.

The books are on a Redis of their own that nobody kills.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time

import dramatiq
import redis
from dramatiq import Worker

from nomad_actors import current_job
from nomad_actors.broker import JobBroker
from nomad_actors.processes import end_with_parent

QUEUE = "chaos"
BOOKS = "books"


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

    broker.declare_queue(QUEUE, concurrency=8)
    for plain in (quiet, telling, failing):
        dramatiq.actor(plain, broker=broker, queue_name=QUEUE, max_retries=0)
    dramatiq.actor(work, broker=broker, queue_name=QUEUE, max_retries=0)
    dramatiq.actor(poison, broker=broker, queue_name=QUEUE, max_retries=0)


def main() -> None:
    """Run jobs until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m chaos.worker")
    parser.add_argument("--redis", required=True)
    parser.add_argument("--books", required=True)
    parser.add_argument("--lease-ms", type=int, required=True)
    arguments = parser.parse_args()
    end_with_parent()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    broker = JobBroker(url=arguments.redis, namespace="chaos", lease_ms=arguments.lease_ms, shutdown_ms=5_000)
    declare(broker, redis.Redis.from_url(arguments.books))
    worker = Worker(broker, worker_threads=8, worker_timeout=100)
    worker.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    stop.wait()
    worker.stop()
    broker.close()


if __name__ == "__main__":
    main()
