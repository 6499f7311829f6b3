"""Job types that end as their data requests, in separate queues, and helpers that add their jobs."""

from __future__ import annotations

import threading
from typing import Any

from nomad_actors.queues import NewJob, Queues
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.queues.policy import Backoff


class Work(Payload):
    character_id: int = 1
    fail: bool = False
    wait: bool = False


class Done(Result):
    ok: bool = True


gate = threading.Event()


def work(payload: Work) -> Done:
    if payload.wait:
        gate.wait(10)
    if payload.fail:
        raise ValueError("ESI said no")
    return Done()


def job_type(name: str, queue: str, *, time_limit_ms: int = 60_000) -> JobType:
    return JobType(
        name=name,
        queue=queue,
        payload=Work,
        result=Done,
        run=work,
        attempts=1,
        backoff=Backoff("fixed", 1),
        time_limit_ms=time_limit_ms,
        concurrency=8,
    )


def beat_scheduler(queues: Queues, **fields: Any) -> None:
    """Send a scheduler's heartbeat."""
    book = queues.broker.schedules()
    book.beat("host:1", book.redis_ms(), forget_before_ms=0, **fields)


def add(queues: Queues, count: int, *, queue: str = "fetching", **data: object) -> list[str]:
    jobs = queues.add_jobs([NewJob(queue=queue, job_type=queue, data=data)] * count)
    return [job.id for job in jobs]
