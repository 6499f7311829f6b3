"""The scenarios, and the program that runs one of them on an empty Redis.

`python -m bench.scenarios SYSTEM SCENARIO REDIS_URL` prints the measured values by name, as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import dramatiq
import redis
from dramatiq import Worker

from nomad_actors.broker import JobBroker, Retention

from .esi import limiter_scripts, not_modified
from .history import history_rows
from .systems import THREADS, make_broker

Measured = Mapping[str, float]

PAYLOAD = {"character_id": 95_465_499, "user_id": 1_234, "endpoint": "/characters/{character_id}/wallet/journal"}
DRAINED = 10_000
BACKLOG = 20_000
ENQUEUED = 3_000
ENQUEUED_AT_ONCE = 50_000
#: Kept jobs; some others run first, so that connections and scripts are not counted.
KEPT = 10_000
WARM_UP = 100
DELAYED = 20_000


def no_op(character_id: int, user_id: int, endpoint: str) -> None:
    """Do nothing: only the system around the job is measured."""


@contextmanager
def _working(broker: dramatiq.Broker) -> Iterator[Worker]:
    worker = Worker(broker, worker_threads=THREADS)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def enqueue(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Add jobs one by one; jobs per second."""
    actor = dramatiq.actor(no_op, broker=broker)
    began = time.perf_counter()
    for _ in range(ENQUEUED):
        actor.send(**PAYLOAD)
    return {"enqueue, jobs/s": ENQUEUED / (time.perf_counter() - began)}


def enqueue_many(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Add jobs in one call, including making their messages; jobs per second. Dramatiq adds them one by one."""
    actor = dramatiq.actor(no_op, broker=broker)
    began = time.perf_counter()
    if isinstance(broker, JobBroker):
        broker.enqueue_many([(actor.message(**PAYLOAD), 0) for _ in range(ENQUEUED_AT_ONCE)])
        added = ENQUEUED_AT_ONCE
    else:
        for _ in range(ENQUEUED):
            actor.send(**PAYLOAD)
        added = ENQUEUED
    return {"add in one call, jobs/s": added / (time.perf_counter() - began)}


def drain(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Drain waiting no-op jobs; jobs per second, including the start of the worker."""
    done = itertools.count(1)
    last = 0

    def count(character_id: int, user_id: int, endpoint: str) -> None:
        nonlocal last
        last = next(done)

    actor = dramatiq.actor(count, broker=broker)
    for _ in range(DRAINED):
        actor.send(**PAYLOAD)
    began = time.perf_counter()
    with _working(broker):
        _until(lambda: last >= DRAINED, timeout_seconds=60)
        took = time.perf_counter() - began
    return {"drain, jobs/s": DRAINED / took}


def memory(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Add jobs; bytes of Redis memory per job."""
    actor = dramatiq.actor(no_op, broker=broker)
    before = client.info("memory")["used_memory"]
    for _ in range(ENQUEUED):
        actor.send(**PAYLOAD)
    return {"memory, bytes per waiting job": (client.info("memory")["used_memory"] - before) / ENQUEUED}


def kept(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Run jobs; bytes of Redis memory per kept job with its timeline. Dramatiq keeps none."""
    if not isinstance(broker, JobBroker):
        return {}
    broker.declare_queue("default", retention=Retention(completed=WARM_UP + KEPT))
    actor = dramatiq.actor(no_op, broker=broker)
    used = []
    with _working(broker):
        for count in (WARM_UP, KEPT):
            for _ in range(count):
                actor.send(**PAYLOAD)
            broker.join(actor.queue_name, timeout=60_000)
            used.append(client.info("memory")["used_memory"])
    return {"memory, bytes per kept job": (used[1] - used[0]) / KEPT}


def delayed(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Add 20,000 jobs delayed by 5 to 15 s; how many ms they start late."""
    late: list[float] = []
    draw = random.Random(1)
    actor = dramatiq.actor(lambda due: late.append(time.time() * 1000 - due), broker=broker, actor_name="delayed")
    with _working(broker):
        for _ in range(DELAYED):
            delay_ms = draw.randrange(5_000, 15_000)
            actor.send_with_options(args=(time.time() * 1000 + delay_ms,), delay=delay_ms)
        _until(lambda: len(late) == DELAYED, timeout_seconds=60)
    return {"delayed 5 to 15 s, p50 ms late": statistics.median(late), "delayed, p99 ms late": _percentile(late, 99)}


def pickup_steady(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Send 200 jobs, 20 per second, to an idle worker; ms until they start."""
    waits = _pickups(broker, jobs=200, every_seconds=0.05)
    return {"pick-up at 20/s, p50 ms": statistics.median(waits), "pick-up at 20/s, p99 ms": _percentile(waits, 99)}


def pickup_rare(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Send one job every two seconds to an idle worker; ms until they start."""
    waits = _pickups(broker, jobs=8, every_seconds=2.0)
    return {"pick-up at one in 2 s, p50 ms": statistics.median(waits), "pick-up at one in 2 s, max ms": max(waits)}


def urgent(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Send a CRITICAL job behind 20,000 BATCH jobs of 5 ms, 8 at a time; ms until it starts."""
    started: list[float] = []
    batch = dramatiq.actor(lambda: time.sleep(0.005), broker=broker, actor_name="batch", priority=5)
    critical = dramatiq.actor(
        lambda: started.append(time.perf_counter()), broker=broker, actor_name="critical", priority=1
    )
    for _ in range(BACKLOG):
        batch.send()
    waits = []
    with _working(broker):
        time.sleep(1.0)
        for _ in range(3):
            started.clear()
            sent = time.perf_counter()
            critical.send()
            _until(lambda: bool(started), timeout_seconds=60)
            waits.append((started[0] - sent) * 1000)
            if waits[-1] > 5_000:
                break  # It waited for the whole backlog: nothing is left to measure the next one with.
        broker.flush_all()
    return {"urgent job behind 20,000, ms": statistics.median(waits)}


def idle(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Do nothing with four queues; Redis commands per second, including those inside scripts."""
    for name in ("a", "b", "c", "d"):
        dramatiq.actor(no_op, broker=broker, actor_name=name, queue_name=name)
    with _working(broker):
        time.sleep(2.0)
        before, began = _commands(client), time.perf_counter()
        time.sleep(16.0)
        return {"idle, commands/s": (_commands(client) - before - 1) / (time.perf_counter() - began)}


SCENARIOS: Mapping[str, Callable[[dramatiq.Broker, redis.Redis], Measured]] = {
    each.__name__: each
    for each in (
        *(enqueue, enqueue_many, drain, memory, kept, pickup_steady, pickup_rare, urgent, delayed, idle),
        *(not_modified, limiter_scripts, history_rows),
    )
}


def _pickups(broker: dramatiq.Broker, *, jobs: int, every_seconds: float) -> list[float]:
    waits: list[float] = []
    actor = dramatiq.actor(lambda sent: waits.append((time.time() - sent) * 1000), broker=broker, actor_name="pick_up")
    with _working(broker):
        actor.send(time.time())
        _until(lambda: len(waits) == 1, timeout_seconds=10)
        for _ in range(jobs):
            time.sleep(every_seconds)
            actor.send(time.time())
        _until(lambda: len(waits) == jobs + 1, timeout_seconds=10)
    return waits[1:]


def _commands(client: redis.Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _until(condition: Callable[[], bool], *, timeout_seconds: float) -> None:
    deadline = time.perf_counter() + timeout_seconds
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not done within {timeout_seconds} s")
        time.sleep(0.001)


def main(system: str, scenario: str, url: str) -> None:
    """Measure and print the result as JSON."""
    client = redis.Redis.from_url(url)
    client.flushall()
    with open(os.devnull, "w", encoding="utf-8") as lines:
        broker = make_broker(system, url, lines)
        dramatiq.set_broker(broker)
        measured = SCENARIOS[scenario](broker, client)
        broker.close()
    print(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
