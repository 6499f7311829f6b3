"""An application with one job type, its schedules, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from nomad_actors.broker import JobBroker, PermanentError
from nomad_actors.clock import ManualClock
from nomad_actors.queues import Queues
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.scheduler import JobSchedule, Schedules
from nomad_actors.settings import Settings

#: A Sunday, ten seconds before a full minute.
START = datetime(2026, 11, 29, 8, 59, 50, tzinfo=UTC)


class Tick(Payload):
    number: int


#: A tick with this number fails.
FAILS = 13


def run(tick: Tick) -> Result:
    """Fail, or complete, depending on the number."""
    if tick.number == FAILS:
        raise PermanentError("an unlucky number")
    return Result()


TICK = JobType(name="tick", queue="ticks", payload=Tick, result=Result, run=run)
TOCK = JobType(name="tock", queue="tocks", payload=Tick, result=Result, run=lambda payload: Result())


def a_schedule(**changes: object) -> JobSchedule:
    """Return a schedule for every minute, with changes."""
    fields: dict[str, object] = {
        "name": "every-minute",
        "description": "",
        "expression": "* * * * *",
        "queue": "ticks",
        "job_type": "tick",
        "data": {"number": 1},
        "overlap": "queue",
    }
    return JobSchedule(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at START until it is moved."""
    return ManualClock(int(START.timestamp() * 1000))


@pytest.fixture
def make_queues(redis_url: str, clock: ManualClock) -> Iterator[Callable[..., Queues]]:
    """`make_queues(url)`: the queues of a new application, closed after the test."""
    brokers: list[JobBroker] = []

    def make(url: str = redis_url) -> Queues:
        brokers.append(JobBroker(url=url))
        queues = Queues(brokers[-1], settings=Settings(), clock=clock)
        queues.register(TICK)
        queues.register(TOCK)
        return queues

    yield make
    for broker in brokers:
        broker.close()


@pytest.fixture
def queues(make_queues: Callable[..., Queues]) -> Queues:
    """The queues of one application."""
    return make_queues()


@pytest.fixture
def schedules(queues: Queues, clock: ManualClock) -> Schedules:
    """Its schedules."""
    return Schedules(queues)
