"""Workers that are stopped and started all the time: what they give back runs elsewhere, no attempt is spent."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from nomad_actors.broker import JobBroker
from nomad_actors.processes.local_redis import LocalRedis

from .workload import Books, Producer, audit, declare, settle, worker


def restarted_workers(draw: random.Random, seconds: float) -> str:
    """Stop and start a second worker at random moments while jobs run."""
    stops = 0
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory)).start()
        books = Books()
        steady = _broker(server, books)
        try:
            with worker(steady), Producer(steady, every_seconds=0.004) as producer:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    restless = _broker(server, books)
                    with worker(restless):
                        time.sleep(draw.uniform(0.05, 0.5))
                    restless.close()
                    stops += 1
                producer.stop()
                settle(steady)
            return f"{audit(books, producer)}; a worker stopped {stops} times"
        finally:
            steady.close()
            server.stop()


def _broker(server: LocalRedis, books: Books) -> JobBroker:
    broker = JobBroker(url=server.url, namespace="chaos")
    declare(broker, books)
    return broker
