"""Many jobs in one call: all of them or none, whoever dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq import Actor

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, Retention, State
from nomad_actors.broker.client.adding import ADD_STEP
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.client.packed_job import PackedJob
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.testing import FaultProxy, running

ran: list[int] = []
MANY = 4 * ADD_STEP + 7


@pytest.fixture
def view(broker: JobBroker) -> QueueView:
    return broker.view("default")


@pytest.fixture
def work(broker: JobBroker) -> Actor[..., Any]:
    ran.clear()
    return dramatiq.actor(ran.append, broker=broker, actor_name="work")


def test_they_start_in_the_order_of_the_call(
    broker: JobBroker, work: Actor[..., Any], view: QueueView, redis_client: redis.Redis
) -> None:
    added = broker.enqueue_many([(work.message(n), 0 if n % 2 else 60_000) for n in range(MANY)])
    assert [each.state for each in added[:2]] == ["delayed", "waiting"]
    counts = view.counts()
    assert (counts.waiting, counts.delayed) == (MANY // 2, MANY - MANY // 2)
    waiting = [job.message.args[0] for job in view.jobs(State.WAITING, 0, -1) if job.message]
    assert waiting == list(range(1, MANY, 2))
    check_queue(redis_client)
    # All that is left says that it is done, for a while.
    assert all(key.endswith(b":done") for key in redis_client.scan_iter("*:bulk*"))


def put_down(broker: JobBroker, work: Actor[..., Any], *, commit: bool) -> str:
    """Do what a caller does up to the moment in which it dies; return the key of what it put down."""
    base = broker._base("default")
    jobs = [PackedJob.of(work.message(n), call=os.urandom(8), actor=work, delay_ms=0) for n in range(MANY)]
    bulk_parts = [jobs[at : at + ADD_STEP] for at in range(0, MANY, ADD_STEP)]
    broker._adder._store(f"{base}:bulk:dead", bulk_parts)
    if commit:
        assert broker._links.run([Call("commit_bulk", base, ("dead", len(bulk_parts), MANY))]) == [[b"ok"]]
    return f"{base}:bulk:dead"


def test_of_a_caller_that_dies_before_the_decision_nothing_is_added(
    broker: JobBroker, work: Actor[..., Any], view: QueueView, redis_client: redis.Redis
) -> None:
    key = put_down(broker, work, commit=False)
    with running(broker):
        broker.join("default", timeout=1000)
    assert ran == []
    assert 0 < int(redis_client.pttl(key)) <= 600_000  # type: ignore[arg-type]


def test_of_a_caller_that_dies_after_it_all_is_added_by_a_worker(
    broker: JobBroker,
    work: Actor[..., Any],
    view: QueueView,
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
) -> None:
    key = put_down(broker, work, commit=True)
    assert redis_client.pttl(key) == -1
    # It died ten seconds ago.
    redis_client.hset(key, "touched", 0)  # type: ignore[arg-type]
    with running(broker):
        wait_until(lambda: len(ran) == MANY, timeout_seconds=10)
    assert ran == list(range(MANY))
    assert not redis_client.exists(key, "nomad:{default}:bulks")
    check_queue(redis_client)


def test_a_worker_leaves_a_bulk_to_a_caller_that_lives(
    broker: JobBroker, work: Actor[..., Any], view: QueueView, wait_until: Callable[..., None]
) -> None:
    put_down(broker, work, commit=True)
    with running(broker):
        wait_until(lambda: view.facts().workers)
        assert view.counts().waiting == 0


@pytest.mark.parametrize("side", ["cut_before", "cut_after"])
@pytest.mark.parametrize("name", ["hset", "commit_bulk", "add_bulk_part"])
def test_a_cut_line_doubles_nothing_also_while_workers_take_the_jobs_away(
    make_broker: Callable[..., JobBroker],
    broker: JobBroker,
    work: Actor[..., Any],
    proxy: FaultProxy,
    side: str,
    name: str,
) -> None:
    # Nothing is kept: what ran cannot be known again by its id.
    broker.retention = Retention(0, 0, 0, 0)
    caller = make_broker(url=proxy.url)
    getattr(proxy, side)(lambda command: command.name == name)
    with running(broker):
        caller.enqueue_many([(work.message(n), 0) for n in range(MANY)])
        broker.join("default", timeout=10_000)
    assert proxy.cuts == [name]
    assert sorted(ran) == list(range(MANY))


def test_a_bulk_whose_parts_expired_adds_nothing(
    broker: JobBroker, work: Actor[..., Any], view: QueueView, redis_client: redis.Redis
) -> None:
    key = put_down(broker, work, commit=False)
    redis_client.hdel(key, "0")
    reply = broker._links.run(
        [Call("commit_bulk", broker._base("default"), ("dead", len(range(0, MANY, ADD_STEP)), MANY))]
    )
    assert reply == [[b"gone"]]
    assert view.counts().waiting == 0
