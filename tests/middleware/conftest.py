"""Ended runs and messages made by hand, and a broker with a worker on the test run's Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import dramatiq
import pytest

from nomad_actors.broker.broker import JobBroker
from nomad_actors.broker.endings import Ended, Outcome


@pytest.fixture
def ended() -> Callable[..., Ended]:
    """`ended(**fields)`: a completed run of `esi-data-refresh`, with the given fields changed."""

    def make(**fields: Any) -> Ended:
        defaults = {
            "queue": "esi-refresh",
            "actor": "esi-data-refresh",
            "job_id": "6f1c7c1e-1111-4222-8333-444455556666",
            "outcome": Outcome.COMPLETED,
            "attempt": 1,
            "ready_ms": 1_000,
            "started_ms": 1_250,
            "ended_ms": 1_850,
            "wait_ms": 250.0,
            "run_ms": 600.0,
            "error": None,
            "message": None,
        }
        return Ended(**{**defaults, **fields})

    return make


@pytest.fixture
def message() -> Callable[..., dramatiq.Message]:
    """`message(**payload)`: a message of `esi-data-refresh` with this payload."""

    def make(**payload: Any) -> dramatiq.Message:
        return dramatiq.Message(
            queue_name="esi-refresh", actor_name="esi-data-refresh", args=(), kwargs=payload, options={}
        )

    return make


@pytest.fixture
def running(redis_url: str) -> Iterator[Callable[..., JobBroker]]:
    """`running(middleware, declare)`: a broker whose worker runs what `declare(broker)` declares."""
    with ExitStack() as stack:

        def start(middleware: list[dramatiq.Middleware], declare: Callable[[JobBroker], Any]) -> JobBroker:
            broker = JobBroker(url=redis_url, middleware=middleware)
            stack.callback(broker.close)
            declare(broker)
            worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=50)
            worker.start()
            stack.callback(worker.stop)
            return broker

        yield start
