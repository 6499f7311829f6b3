"""Workers are stopped and started all the time: the jobs they return run elsewhere, no attempt is spent."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from nomad_actors.broker import JobBroker
from nomad_actors.processes.local_redis import LocalRedis

from .workload import Producer, RunLog, check_runs, declare, wait_until_empty, worker


def restarted_workers(draw: random.Random, seconds: float) -> str:
    """Stop and start a second worker at random moments while jobs run."""
    stops = 0
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory)).start()
        run_log = RunLog()
        stable = _broker(server, run_log)
        try:
            with worker(stable), Producer(stable, every_seconds=0.004) as producer:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    restarted = _broker(server, run_log)
                    with worker(restarted):
                        time.sleep(draw.uniform(0.05, 0.5))
                    restarted.close()
                    stops += 1
                producer.stop()
                wait_until_empty(stable)
            return f"{check_runs(run_log, producer)}; a worker stopped {stops} times"
        finally:
            stable.close()
            server.stop()


def _broker(server: LocalRedis, run_log: RunLog) -> JobBroker:
    broker = JobBroker(url=server.url, namespace="chaos")
    declare(broker, run_log)
    return broker
