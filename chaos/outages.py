"""Connections are cut and Redis is killed: no accepted job is lost, none runs too often."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nomad_actors.broker import JobBroker
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.testing import Command, FaultProxy

from .workload import Producer, RunLog, check_runs, declare, wait_until_empty, worker


def cut_lines(draw: random.Random, seconds: float) -> str:
    """Cut the connection of random commands, before or after Redis executes them, while jobs run."""
    cuts = 0
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory)).start()
        proxy = FaultProxy(server.port)
        broker = JobBroker(url=proxy.url, namespace="chaos")
        run_log = RunLog()
        declare(broker, run_log)
        try:
            with worker(broker), Producer(broker, every_seconds=0.004) as producer:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    time.sleep(draw.uniform(0.01, 0.2))
                    cut = proxy.cut_before if draw.random() < 0.5 else proxy.cut_after
                    cut(_from_number(len(proxy.seen) + draw.randrange(20)))
                proxy.forget()
                producer.stop()
                wait_until_empty(broker)
                cuts = len(proxy.cuts)
            return f"{check_runs(run_log, producer)}; {cuts} connections cut"
        finally:
            broker.close()
            proxy.close()
            server.stop()


def _from_number(number: int) -> Callable[[Command], bool]:
    return lambda command: command.number >= number


def killed_redis(draw: random.Random, seconds: float) -> str:
    """Repeatedly kill an append-only Redis with SIGKILL and restart it, while jobs run."""
    kills = 0
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory), append_only=True, appendfsync="always").start()
        broker = JobBroker(url=server.url, namespace="chaos")
        run_log = RunLog()
        declare(broker, run_log)
        try:
            with worker(broker), Producer(broker, every_seconds=0.004) as producer:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    time.sleep(draw.uniform(0.5, 3.0))
                    server.kill()
                    time.sleep(draw.uniform(0.0, 1.0))
                    server.start()
                    kills += 1
                producer.stop()
                wait_until_empty(broker)
            return f"{check_runs(run_log, producer)}; Redis killed {kills} times"
        finally:
            broker.close()
            server.kill()
