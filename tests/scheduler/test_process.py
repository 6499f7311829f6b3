"""The process that fires schedules: each slot one job, whoever fires it, and none lost while Redis is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from nomad_actors.broker import JobBroker
from nomad_actors.clock import ManualClock
from nomad_actors.job_types import JobType, Payload, Result
from nomad_actors.local_redis import LocalRedis
from nomad_actors.queues import Queues
from nomad_actors.scheduler import Schedule, SlotScheduler, summary
from nomad_actors.settings import Settings
from nomad_actors.testing import running

#: A Sunday, ten seconds before a full minute.
START = datetime(2026, 11, 29, 8, 59, 50, tzinfo=UTC)


class Tick(Payload):
    number: int


TICK = JobType(name="tick", queue="ticks", payload=Tick, result=Result, run=lambda payload: Result())
SCHEDULE = Schedule(
    name="every-minute", description="", expression="* * * * sun", queue="ticks", job_type="tick", data={"number": 1}
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(int(START.timestamp() * 1000))


@pytest.fixture
def make_queues(redis_url: str, clock: ManualClock) -> Iterator[Callable[..., Queues]]:
    brokers: list[JobBroker] = []

    def make(url: str = redis_url) -> Queues:
        brokers.append(JobBroker(url=url))
        queues = Queues(brokers[-1], settings=Settings(), clock=clock)
        queues.register(TICK)
        return queues

    yield make
    for broker in brokers:
        broker.close()


def waiting(queues: Queues) -> int:
    return queues.get_queue("ticks").counts()["waiting"]


def test_each_due_slot_gets_one_job_from_any_number_of_schedulers(
    make_queues: Callable[..., Queues], clock: ManualClock
) -> None:
    queues = make_queues()
    schedulers = [SlotScheduler(queues, [SCHEDULE], clock) for _ in range(3)]
    for _ in range(5):
        for scheduler in schedulers:
            scheduler.schedule()
        clock.advance(seconds=60)
    # The slot of 08:59 is looked back to, those of 09:00 to 09:03 came due.
    assert waiting(queues) == 5


def test_a_slot_whose_job_has_ended_is_not_fired_again(make_queues: Callable[..., Queues], clock: ManualClock) -> None:
    queues = make_queues()
    SlotScheduler(queues, [SCHEDULE], clock).schedule()
    with running(queues._broker):
        queues._broker.join("ticks", timeout=5000)
        SlotScheduler(queues, [SCHEDULE], clock).schedule()
        queues._broker.join("ticks", timeout=5000)
    assert queues.get_queue("ticks").stats(3600).completed == 1


def test_a_slot_that_redis_did_not_take_is_added_when_it_is_back(
    own_redis: LocalRedis, make_queues: Callable[..., Queues], clock: ManualClock
) -> None:
    queues = make_queues(own_redis.url)
    scheduler = SlotScheduler(queues, [SCHEDULE], clock)
    own_redis.kill()
    clock.advance(seconds=20)
    scheduler.schedule()
    own_redis.start()
    scheduler.schedule()
    assert waiting(queues) == 2


def test_a_schedule_that_is_refused_does_not_stop_the_others(
    make_queues: Callable[..., Queues], clock: ManualClock
) -> None:
    queues = make_queues()
    broken = Schedule(
        name="broken", description="", expression="* * * * *", queue="ticks", job_type="tick", data={"nonsense": 1}
    )
    SlotScheduler(queues, [broken, SCHEDULE], clock).schedule()
    assert waiting(queues) == 1


def test_the_loop_wakes_for_the_slot_and_stops_when_told(
    make_queues: Callable[..., Queues], wait_until: Callable[..., None]
) -> None:
    queues = make_queues()
    clock = ManualClock(int(START.timestamp() * 1000) + 9_500)
    scheduler = SlotScheduler(queues, [SCHEDULE], clock)
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    clock.advance(seconds=0.6)
    wait_until(lambda: waiting(queues) == 2, timeout_seconds=3)
    scheduler.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_the_summary_tells_next_and_last_run(make_queues: Callable[..., Queues], clock: ManualClock) -> None:
    queues = make_queues()
    told = summary(queues, clock, [SCHEDULE])
    assert (told["total"], told["running"], told["stopped"]) == (1, 1, 0)
    (job,) = told["jobs"]  # type: ignore[misc]
    assert (job["nextRun"], job["lastRun"]) == ("2026-11-29T09:00:00+00:00", None)
    SlotScheduler(queues, [SCHEDULE], clock).schedule()
    with running(queues._broker):
        queues._broker.join("ticks", timeout=5000)
    (job,) = summary(queues, clock, [SCHEDULE])["jobs"]  # type: ignore[misc]
    assert job["lastStatus"] == "completed"
    assert job["lastRun"] is not None
