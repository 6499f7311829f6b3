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
    """Collects the ended runs that middleware gets."""

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


#: For tests of what must not wait for a worker's next beat: with this lease it comes after 15 s, beyond every deadline.
RARE_BEATS = pytest.mark.parametrize("lease_ms", [60_000])


@pytest.fixture
def lease_ms() -> int:
    """How long a worker of the test's broker may be unheard."""
    return 15_000


@pytest.fixture
def broker(make_broker: Callable[..., JobBroker], lease_ms: int) -> JobBroker:
    """A broker on the test run's empty Redis, also Dramatiq's global one."""
    broker = make_broker(lease_ms=lease_ms)
    dramatiq.set_broker(broker)
    return broker


@pytest.fixture
def endings(broker: JobBroker) -> list[Ended]:
    """The ended runs that middleware gets."""
    middleware = Endings()
    broker.add_middleware(middleware)
    return middleware.seen


@pytest.fixture
def proxy(nomad_fault_proxy: FaultProxy) -> FaultProxy:
    """A faulty line to the test run's empty Redis."""
    return nomad_fault_proxy
