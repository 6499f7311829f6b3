"""A worker that stops: what runs is finished or given back, its attempt unspent, its place kept."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import dramatiq
import pytest
from dramatiq import Worker

from nomad_actors.broker import JobBroker, State
from nomad_actors.broker.endings import Ended, Outcome


def started(broker: JobBroker, threads: int) -> Worker:
    worker = Worker(broker, worker_threads=threads, worker_timeout=100)
    worker.start()
    return worker


def test_a_job_that_ends_in_time_completes(broker: JobBroker, endings: list[Ended]) -> None:
    broker.shutdown_ms = 5000
    began, go = threading.Event(), threading.Event()

    @dramatiq.actor
    def job() -> None:
        began.set()
        go.wait(10)

    job.send()
    worker = started(broker, 1)
    assert began.wait(5)
    threading.Timer(0.2, go.set).start()
    worker.stop()
    assert [e.outcome for e in endings] == [Outcome.COMPLETED]
    assert broker.view("default").facts().workers == []


@pytest.mark.parametrize("interruptible", [True, False])
def test_a_job_that_still_runs_at_shutdown_returns_to_its_position_without_spending_an_attempt(
    broker: JobBroker, endings: list[Ended], interruptible: bool
) -> None:
    broker.shutdown_ms = 300
    began, go = threading.Event(), threading.Event()

    @dramatiq.actor
    def job(number: int) -> None:
        began.set()
        if interruptible:
            while not go.is_set():
                time.sleep(0.01)
        else:
            go.wait(20)

    sent = [job.send(i).message_id for i in range(3)]
    worker = started(broker, 1)
    assert began.wait(5)
    before = time.monotonic()
    worker.stop()
    took = time.monotonic() - before
    assert took < 3
    view = broker.view("default")
    listed = view.jobs(State.WAITING, 0, -1)
    assert [stored.job_id for stored in listed] == sent
    assert listed[0].record is not None
    assert listed[0].record.header.attempts == 0
    assert [event["event"] for event in listed[0].timeline()] == ["enqueued", "started", "released"]
    assert [e.outcome for e in endings] == [Outcome.RELEASED]
    go.set()


def test_without_a_limit_of_its_own_the_workers_timeout_counts(broker: JobBroker, endings: list[Ended]) -> None:
    began, go = threading.Event(), threading.Event()

    @dramatiq.actor
    def job() -> None:
        began.set()
        go.wait(20)

    job.send()
    worker = started(broker, 1)
    assert began.wait(5)
    worker.stop(timeout=200)
    assert broker.view("default").counts().waiting == 1
    go.set()


def test_a_stopping_worker_starts_nothing_more(
    broker: JobBroker, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    broker.shutdown_ms = 5000
    began, go = threading.Event(), threading.Event()

    @dramatiq.actor
    def job(number: int) -> None:
        began.set()
        go.wait(20)

    worker = started(broker, 2)
    job.send(0)
    assert began.wait(5)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    wait_until(lambda: broker._session is not None and not broker._session._held.taking)
    for i in range(1, 5):
        job.send(i)
    go.set()
    stopping.join(10)
    assert [e.job_id for e in endings if e.outcome is Outcome.COMPLETED] == [endings[0].job_id]
    counts = broker.view("default").counts()
    assert (counts.waiting, counts.active, counts.completed) == (4, 0, 1)


def test_a_second_worker_in_the_same_program_takes_up_where_the_first_stopped(
    broker: JobBroker, endings: list[Ended]
) -> None:
    actor = dramatiq.actor(lambda: None, actor_name="job")
    for _ in range(2):
        worker = started(broker, 2)
        actor.send()
        broker.join("default", timeout=5000)
        worker.stop()
    assert [e.outcome for e in endings] == [Outcome.COMPLETED] * 2


def test_a_thread_that_waits_without_end_is_woken_when_the_worker_stops(broker: JobBroker) -> None:
    broker.declare_queue("default")
    worker = started(broker, 1)
    woken = threading.Event()

    def wait_as_a_thread_whose_timeout_was_lost() -> None:
        with pytest.raises(queue.Empty):
            worker.work_queue.get(timeout=None)
        woken.set()

    stuck = threading.Thread(target=wait_as_a_thread_whose_timeout_was_lost, daemon=True)
    stuck.start()
    worker.workers.append(stuck)  # type: ignore[arg-type]  # it is waited for as Dramatiq's own are
    stuck.stop = lambda: None  # type: ignore[attr-defined]
    worker.stop(timeout=10_000)
    assert woken.wait(1)
