"""Fixtures of the broker's tests: brokers of a test's own, workers that are stopped, a faulty line to Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest

from nomad_actors.broker import JobBroker
from nomad_actors.broker.endings import Ended
from nomad_actors.testing import FaultProxy


class Endings(dramatiq.Middleware):
    """Keeps what middleware is told of ended runs."""

    def __init__(self) -> None:
        self.seen: list[Ended] = []

    def after_settle(self, broker: dramatiq.Broker, endings: list[Ended]) -> None:
        """Keep them."""
        self.seen += endings


@pytest.fixture
def make_broker(redis_url: str) -> Iterator[Callable[..., JobBroker]]:
    """`make_broker(url=…, **arguments)`; closed at the end of the test."""
    brokers: list[JobBroker] = []

    def make(**arguments: Any) -> JobBroker:
        broker = JobBroker(**{"url": redis_url, **arguments})
        brokers.append(broker)
        return broker

    yield make
    for broker in brokers:
        broker.close()


@pytest.fixture
def broker(make_broker: Callable[..., JobBroker]) -> JobBroker:
    """A broker on the test run's empty Redis, also Dramatiq's global one."""
    broker = make_broker()
    dramatiq.set_broker(broker)
    return broker


@pytest.fixture
def endings(broker: JobBroker) -> list[Ended]:
    """What middleware is told of ended runs."""
    middleware = Endings()
    broker.add_middleware(middleware)
    return middleware.seen


@pytest.fixture
def proxy(nomad_fault_proxy: FaultProxy) -> FaultProxy:
    """A faulty line to the test run's empty Redis."""
    return nomad_fault_proxy
