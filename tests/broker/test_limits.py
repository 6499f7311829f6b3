"""What keeps jobs from starting or being added: pauses that end, jobs at a time, starts in a period, a full queue."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import dramatiq
import pytest
import redis
from dramatiq import Actor

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, State
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.client.packed_job import PackedJob
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.errors import QueueFull
from nomad_actors.broker.records.limits import Limits, PauseScope
from nomad_actors.testing import running
from tests.broker.conftest import RARE_BEATS

started: list[float] = []
gate = threading.Event()


@pytest.fixture
def view(broker: JobBroker) -> QueueView:
    return broker.view("default")


@pytest.fixture
def work(broker: JobBroker) -> Actor[..., object]:
    started.clear()
    gate.set()
    broker.declare_queue("default", concurrency=4, limit=3)

    @dramatiq.actor(actor_name="work", max_retries=0)
    def work(number: int = 0) -> None:
        started.append(time.monotonic())
        gate.wait(10)

    return work


def test_a_pause_has_its_reason_author_and_end(broker: JobBroker, view: QueueView) -> None:
    view.pause(reason="CCP's downtime", by="mira", for_ms=60_000)
    (pause,) = view.counts().pauses
    assert (pause.reason, pause.by, pause.scope) == ("CCP's downtime", "mira", PauseScope.QUEUE)
    assert pause.until_ms == pause.since_ms + 60_000
    view.pause(reason="longer", by="tor")
    (changed_pause,) = view.counts().pauses
    assert (changed_pause.since_ms, changed_pause.until_ms, changed_pause.reason) == (pause.since_ms, None, "longer")
    view.resume()
    assert view.counts().pauses == ()


@RARE_BEATS
def test_a_pause_ends_by_itself_and_the_jobs_start(
    broker: JobBroker,
    view: QueueView,
    work: Actor[..., object],
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
) -> None:
    with running(broker):
        wait_until(lambda: view.facts().workers)
        view.pause(for_ms=700)
        paused_at = time.monotonic()
        # The worker has seen the pause, and that nothing waits.
        wait_until(lambda: not redis_client.exists("dramatiq:{default}:wake"))
        work.send(1)
        # Without the end the worker would look again with its next beat.
        wait_until(lambda: started, timeout_seconds=10)
    assert started[0] - paused_at >= 0.6
    assert view.counts().pauses == ()


def test_a_pause_that_has_ended_delays_no_later_job(
    broker: JobBroker, view: QueueView, work: Actor[..., object], wait_until: Callable[..., None]
) -> None:
    work.send(1)
    view.pause(for_ms=1)
    wait_until(lambda: not view.counts().pauses)
    with running(broker):
        broker.join("default", timeout=3000)


def test_to_lift_one_pause_does_not_lift_the_other(
    broker: JobBroker, view: QueueView, work: Actor[..., object], wait_until: Callable[..., None]
) -> None:
    view.pause(reason="mine")
    view.pause(scope=PauseScope.ESI, reason="all of ESI")
    work.send(1)
    with running(broker):
        wait_until(lambda: view.facts().workers)
        view.resume(scope=PauseScope.ESI)
        assert [pause.reason for pause in view.counts().pauses] == ["mine"]
        assert view.counts().waiting == 1
        view.resume()
        broker.join("default", timeout=3000)


@RARE_BEATS
def test_a_limit_set_at_run_time_goes_before_the_declared_one(
    broker: JobBroker, view: QueueView, work: Actor[..., object], wait_until: Callable[..., None]
) -> None:
    gate.clear()
    view.set_limits(Limits(concurrency=1))
    with running(broker):
        for number in range(6):
            work.send(number)
        wait_until(lambda: view.counts().active == 1)
        assert view.counts().limit == 1
        view.set_limits(Limits())
        # The declared three, at once.
        wait_until(lambda: view.counts().active == 3, timeout_seconds=10)
        gate.set()
        broker.join("default", timeout=5000)


@RARE_BEATS
def test_no_more_jobs_start_in_any_period_than_the_rate_allows(
    broker: JobBroker, view: QueueView, work: Actor[..., object]
) -> None:
    view.set_limits(Limits(starts=5, period_ms=400))
    for number in range(17):
        work.send(number)
    with running(broker):
        broker.join("default", timeout=10_000)
    # By Redis' clock, which the rate goes by.
    began = sorted(job.record.header.started_ms for job in view.jobs(State.COMPLETED, 0, -1) if job.record)
    assert len(began) == 17
    assert all(sixth - first >= 399 for first, sixth in zip(began, began[5:], strict=False))
    # Whoever waits for the rate is told when it has room, and does not wait for the next beat.
    assert began[-1] - began[0] < 8_000


def test_many_old_starts_are_let_go_in_one_short_step(
    broker: JobBroker, view: QueueView, work: Actor[..., object], redis_client: redis.Redis
) -> None:
    view.set_limits(Limits(starts=100_000, period_ms=60_000))
    now_ms = redis_client.time()[0] * 1000
    times = [now_ms - 100_000 + n // 10 for n in range(99_000)] + [now_ms - n for n in range(500, 0, -1)]
    for at in range(0, len(times), 10_000):
        redis_client.rpush("nomad:{default}:starts", *times[at : at + 10_000])
    redis_client.config_resetstat()
    work.send(1)
    with running(broker):
        broker.join("default", timeout=5000)
    assert redis_client.llen("nomad:{default}:starts") == 501
    assert "cmdstat_lpop" not in redis_client.info("commandstats")


def test_a_clock_that_was_set_back_and_a_rate_that_is_lifted_hold_nobody(
    broker: JobBroker, view: QueueView, work: Actor[..., object], redis_client: redis.Redis
) -> None:
    key = "nomad:{default}:starts"
    view.set_limits(Limits(starts=2, period_ms=60_000))
    ahead_ms = redis_client.time()[0] * 1000 + 3_600_000
    redis_client.rpush(key, ahead_ms, ahead_ms)
    work.send(1)
    with running(broker):
        broker.join("default", timeout=5000)
    assert redis_client.llen(key) == 1
    view.set_limits(Limits())
    assert not redis_client.exists(key)


def test_a_rate_applies_over_all_processes(
    make_broker: Callable[..., JobBroker], broker: JobBroker, view: QueueView
) -> None:
    view.set_limits(Limits(starts=3, period_ms=60_000))
    other = make_broker()
    for each in (broker, other):
        dramatiq.actor(lambda number: None, broker=each, actor_name="job")
    for number in range(10):
        broker.get_actor("job").send(number)
    with running(broker), running(other):
        assert not view.wait_empty(timeout_ms=300)
    counts = view.counts()
    assert (counts.completed, counts.waiting) == (3, 7)


@pytest.mark.parametrize("count", [4, 600])
def test_a_full_queue_refuses_a_whole_call_and_names_its_limit(
    broker: JobBroker, view: QueueView, work: Actor[..., object], redis_client: redis.Redis, count: int
) -> None:
    view.set_limits(Limits(max_length=count + 1))
    work.send(1)
    work.send_with_options(delay=60_000)
    with pytest.raises(QueueFull, match=f"at most {count + 1} of its jobs"):
        broker.enqueue_many([(work.message(n), 0) for n in range(count)])
    assert view.counts().waiting == 1
    broker.enqueue_many([(work.message(n), 0) for n in range(count - 1)])
    assert view.counts().waiting == count
    check_queue(redis_client)


def test_a_full_queue_takes_a_call_that_adds_nothing(
    broker: JobBroker, view: QueueView, work: Actor[..., object], wait_until: Callable[..., None]
) -> None:
    gate.clear()
    work.send_with_options(args=(0,), unique_key="runs")
    with running(broker, threads=1):
        wait_until(lambda: started)
        view.set_limits(Limits(max_length=2))
        first = work.send_with_options(args=(1,), unique_key="x")
        second = work.message(2)
        broker.enqueue(second)
        assert work.send_with_options(args=(3,), unique_key="x").message_id == first.message_id
        assert broker.enqueue(second.copy()).message_id == second.message_id
        replaced = work.send_with_options(args=(4,), unique_key="x", unique_replace=True)
        work.send_with_options(args=(5,), unique_key="runs", unique_replace=True)
        assert view.counts().waiting == 2
        assert view.get(replaced.message_id) is not None
        with pytest.raises(QueueFull):
            work.send(6)
        gate.set()


def test_what_is_decided_on_and_not_added_yet_counts_for_a_full_queue(
    broker: JobBroker, view: QueueView, work: Actor[..., object]
) -> None:
    view.set_limits(Limits(max_length=800))
    base = broker._base("default")
    jobs = [PackedJob.of(work.message(n), call=os.urandom(8), actor=work, delay_ms=0) for n in range(500)]
    broker._adder._store(f"{base}:bulk:slow", [jobs[:250], jobs[250:]])
    commit = Call("commit_bulk", base, ("slow", 2, 500))
    assert broker._links.run([commit]) == [[b"ok"]]
    with pytest.raises(QueueFull):
        broker.enqueue_many([(work.message(n), 0) for n in range(600)])
    broker.enqueue_many([(work.message(n), 0) for n in range(200)])
    assert broker._links.run([Call("add_bulk_part", base, ("slow", 0, ""))]) != [[]]
    broker.enqueue_many([(work.message(n), 0) for n in range(100)])
    with pytest.raises(QueueFull):
        work.send(1)
    broker._links.run([Call("add_bulk_part", base, ("slow", 1, "1"))])
    assert view.counts().waiting == 800


def test_a_refused_bulk_leaves_nothing_behind(
    broker: JobBroker, view: QueueView, work: Actor[..., object], redis_client: redis.Redis
) -> None:
    view.set_limits(Limits(max_length=10))
    with pytest.raises(QueueFull):
        broker.enqueue_many([(work.message(n), 0) for n in range(600)])
    assert list(redis_client.scan_iter("*bulk*")) == []


def test_a_full_queue_takes_its_own_jobs_back_and_what_they_add(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    @dramatiq.actor(actor_name="fails", max_retries=1, min_backoff=10, max_backoff=10)
    def fails() -> None:
        started.append(0.0)
        view.set_limits(Limits(max_length=1))
        if len(started) == 1:
            filler.send()
            raise ValueError("once")

    @dramatiq.actor(actor_name="filler")
    def filler() -> None: ...

    started.clear()
    fails.send()
    with running(broker):
        broker.join("default", timeout=5000)
    assert len(started) == 2
