"""Dramatiq's own Redis broker and ours, configured in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO, CurrentMessage, GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as RateLimiterBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend as ResultBackend

from nomad_actors.broker import JobBroker, JobResults


@dataclass(frozen=True)
class System:
    """A broker with the common middleware, and the name of the system."""

    name: str
    broker: dramatiq.Broker
    limiter: RateLimiterBackend


def make_system(name: str, url: str) -> System:
    """Return a broker with results, group callbacks, async actors and the current message."""
    broker: dramatiq.Broker = RedisBroker(url=url) if name == "dramatiq" else JobBroker(url=url)
    limiter = RateLimiterBackend(url=url)
    results = JobResults(broker) if isinstance(broker, JobBroker) else ResultBackend(url=url)
    for middleware in (Results(backend=results), GroupCallbacks(limiter), AsyncIO(), CurrentMessage()):
        broker.add_middleware(middleware)
    dramatiq.set_broker(broker)
    return System(name, broker, limiter)


@pytest.fixture
def make(redis_url: str) -> Iterator[Callable[[str], System]]:
    """`make(name)` returns a system on an empty Redis, closed after the test."""
    made: list[System] = []

    def make(name: str) -> System:
        made.append(make_system(name, redis_url))
        return made[-1]

    yield make
    for system in made:
        system.broker.close()


@pytest.fixture(params=["dramatiq", "nomad-actors"])
def system(request: pytest.FixtureRequest, make: Callable[[str], System]) -> System:
    """Dramatiq's own Redis broker, then ours."""
    return make(request.param)


@pytest.fixture
def broker(system: System) -> dramatiq.Broker:
    """The system's broker."""
    return system.broker


class SignalLog(dramatiq.Middleware):
    """Records the signals that middleware gets for jobs."""

    SIGNALS = (
        *("before_process_message", "after_process_message", "after_skip_message"),
        *("before_ack", "after_ack", "before_nack", "after_nack"),
    )

    def __init__(self) -> None:
        self.signals: list[str] = []
        for signal in self.SIGNALS:
            setattr(self, signal, lambda *_, signal=signal, **__: self.signals.append(signal))


@pytest.fixture
def signals(broker: dramatiq.Broker) -> list[str]:
    """The names of the signals in order."""
    middleware: Any = SignalLog()
    broker.add_middleware(middleware)
    signals: list[str] = middleware.signals
    return signals
