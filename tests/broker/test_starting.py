"""What starts when: strict priority, exact concurrency, nothing fetched ahead, an idle process that costs little."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import dramatiq
import pytest
import redis

from nomad_actors.broker import BadPriority, JobBroker
from nomad_actors.broker.endings import Ended
from nomad_actors.broker.states import State
from nomad_actors.testing import running


def test_the_most_urgent_job_starts_next_whatever_waits(broker: JobBroker) -> None:
    order: list[str] = []

    @dramatiq.actor(priority=5)
    def job(name: str) -> None:
        order.append(name)

    for i in range(200):
        job.send(f"batch {i}")
    for name, priority in (("low", 4), ("critical", 1), ("normal", 3), ("second critical", 1), ("negative", -7)):
        job.send_with_options(args=(name,), priority=priority)
    with running(broker, threads=1):
        broker.join("default", timeout=10_000)
    assert order[:5] == ["negative", "critical", "second critical", "normal", "low"]
    assert order[5:] == [f"batch {i}" for i in range(200)]


def test_an_urgent_job_overtakes_while_others_run(broker: JobBroker, wait_until: Callable[..., None]) -> None:
    order: list[str] = []
    steps = threading.Semaphore(0)

    @dramatiq.actor(priority=5)
    def job(name: str) -> None:
        order.append(name)
        steps.acquire(timeout=10)

    for i in range(20):
        job.send(f"batch {i}")
    with running(broker, threads=2):
        wait_until(lambda: len(order) == 2)
        job.send_with_options(args=("critical",), priority=1)
        steps.release()
        wait_until(lambda: len(order) == 3)
        steps.release(100)
        broker.join("default", timeout=10_000)
    assert order[2] == "critical"


def test_with_fewer_threads_than_slots_the_urgent_queue_goes_first(
    broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    order: list[str] = []
    first = threading.Event()

    @dramatiq.actor(queue_name="bulk", priority=5)
    def bulk(number: int) -> None:
        order.append("bulk")
        first.wait(10)

    @dramatiq.actor(queue_name="urgent", priority=1)
    def urgent() -> None:
        order.append("urgent")

    for i in range(10):
        bulk.send(i)
    with running(broker, threads=1):
        wait_until(lambda: order == ["bulk"])
        urgent.send()
        urgent.send()
        # Both queues want the one thread now; the peek decides.
        wait_until(lambda: broker.view("urgent").counts().waiting == 2)
        first.set()
        broker.join("bulk", timeout=10_000)
        broker.join("urgent", timeout=10_000)
    assert order[1:4].count("urgent") == 2


def test_a_queue_of_concurrency_one_never_runs_two_jobs_at_once(broker: JobBroker) -> None:
    at_once: list[int] = []
    inside = {"single": 0, "wide": 0}
    lock = threading.Lock()

    def enter(queue: str) -> None:
        with lock:
            inside[queue] += 1
            if queue == "single":
                at_once.append(inside[queue])
        time.sleep(0.001)
        with lock:
            inside[queue] -= 1

    broker.declare_queue("single", concurrency=1)
    broker.declare_queue("wide", concurrency=7)
    single = dramatiq.actor(lambda: enter("single"), actor_name="single", queue_name="single")
    wide = dramatiq.actor(lambda: enter("wide"), actor_name="wide", queue_name="wide")
    for _ in range(60):
        single.send()
        wide.send()
        wide.send()
    with running(broker, threads=8):
        for queue in ("single", "wide"):
            broker.join(queue, timeout=10_000)
    assert len(at_once) == 60
    assert max(at_once) == 1


def test_only_what_can_start_is_taken_from_redis(broker: JobBroker, wait_until: Callable[..., None]) -> None:
    go = threading.Event()

    @dramatiq.actor
    def waits(number: int) -> None:
        go.wait(10)

    for i in range(50):
        waits.send(i)
    view = broker.view("default")
    with running(broker, threads=3):
        wait_until(lambda: view.counts().active == 3)
        view.pause()
        assert view.counts().waiting == 47
        go.set()
        wait_until(lambda: view.counts().active == 0)
        assert view.counts().completed == 3
        view.resume()
        broker.join("default", timeout=10_000)


def test_a_limit_over_all_hosts_applies_to_several_workers(
    make_broker: Callable[..., JobBroker], wait_until: Callable[..., None]
) -> None:
    running_now, most = 0, 0
    lock = threading.Lock()

    def job(number: int) -> None:
        nonlocal running_now, most
        with lock:
            running_now += 1
            most = max(most, running_now)
        time.sleep(0.005)
        with lock:
            running_now -= 1

    brokers = [make_broker() for _ in range(3)]
    for each in brokers:
        each.declare_queue("default", concurrency=4, limit=2)
        dramatiq.actor(job, broker=each)
    for i in range(60):
        brokers[0].enqueue(brokers[0].get_actor("job").message(i))
    with running(brokers[0]), running(brokers[1]), running(brokers[2]):
        brokers[0].join("default", timeout=20_000)
    assert most == 2


def test_work_is_shared_by_idle_workers(make_broker: Callable[..., JobBroker], wait_until: Callable[..., None]) -> None:
    ran: list[str] = []
    together = threading.Barrier(2, timeout=10)
    brokers = [make_broker(lease_ms=60_000), make_broker(lease_ms=60_000)]
    for name, each in zip("ab", brokers, strict=True):

        def job(name: str = name) -> None:
            together.wait()
            ran.append(name)

        each.declare_queue("default", concurrency=1)
        dramatiq.actor(job, broker=each, actor_name="job")
    with running(brokers[0]), running(brokers[1]):
        wait_until(lambda: len(brokers[0].view("default").facts().workers) == 2)
        for _ in range(2):
            brokers[0].get_actor("job").send()
        wait_until(lambda: sorted(ran) == ["a", "b"], timeout_seconds=10)


def test_a_priority_that_cannot_be_ordered_is_refused_and_nothing_is_enqueued(broker: JobBroker) -> None:
    @dramatiq.actor
    def job() -> None: ...

    with pytest.raises(BadPriority):
        job.send_with_options(priority=9999)
    assert broker.view("default").counts().waiting == 0


def test_arguments_that_cannot_be_encoded_are_refused_and_nothing_is_enqueued(broker: JobBroker) -> None:
    @dramatiq.actor
    def job(thing: object) -> None: ...

    with pytest.raises(TypeError):
        job.send(object())
    assert broker.view("default").counts().waiting == 0


def test_waiting_jobs_are_listed_in_the_order_of_starting(broker: JobBroker) -> None:
    @dramatiq.actor(priority=3)
    def job(number: int) -> None: ...

    sent = [job.send_with_options(args=(i,), priority=p).message_id for i, p in enumerate((3, 1, 3, 2))]
    listed = [j.job_id for j in broker.view("default").jobs(State.WAITING, 0, -1)]
    assert listed == [sent[1], sent[3], sent[0], sent[2]]


@pytest.mark.slow
def test_an_idle_worker_of_four_queues_costs_at_most_five_commands_a_second(
    broker: JobBroker, redis_client: redis.Redis, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    actors = []
    for name in ("a", "b", "c", "d"):
        broker.declare_queue(name, concurrency=5)
        actors.append(dramatiq.actor(lambda: None, actor_name=name, queue_name=name))
    with running(broker, threads=20):
        for actor in actors:
            actor.send()
        wait_until(lambda: len(endings) == 4)

        def executed() -> int:
            return int(redis_client.info("stats")["total_commands_processed"])

        # Commands inside scripts are counted by Redis too. Over a multiple of the recheck's period.
        before, began = executed(), time.monotonic()
        wait_until(lambda: time.monotonic() - began >= 16.5, timeout_seconds=30)
        a_second = (executed() - before - 1) / (time.monotonic() - began)
    assert a_second <= 5, a_second


def test_no_job_starts_before_dramatiq_can_take_its_end(broker: JobBroker) -> None:
    actor = dramatiq.actor(lambda: None, actor_name="job")
    actor.send()
    consumer = broker.consume("default", prefetch=1, timeout=2000)
    view = broker.view("default")
    assert view.facts().workers == []
    message = next(consumer)
    assert message is not None
    consumer.ack(message)
    broker.join("default", timeout=5000)
    assert view.counts().completed == 1
    consumer.close()
