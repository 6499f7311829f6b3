"""Cancelling: at once where a job waits, in milliseconds where it runs, and never the next one on its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import dramatiq
import pytest
import redis

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, State
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.endings import Ended, Outcome
from nomad_actors.broker.records.stored_job import StoredJob
from nomad_actors.testing import running
from tests.broker.conftest import RARE_BEATS


@pytest.fixture
def view(broker: JobBroker) -> QueueView:
    return broker.view("default")


def stored(view: QueueView, message: dramatiq.Message[object]) -> StoredJob:
    found = view.get(message.message_id)
    assert found is not None
    return found


@pytest.mark.parametrize("delay", [None, 60_000])
def test_a_job_that_has_not_begun_is_cancelled_at_once(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis, delay: int | None
) -> None:
    job = dramatiq.actor(lambda: None, actor_name="job")
    message = job.send_with_options(delay=delay)
    assert view.cancel(message.message_id, "not wanted any more") == "ok"
    assert view.cancel(message.message_id, "again") == "ok"
    cancelled_job = stored(view, message)
    assert (cancelled_job.state, cancelled_job.cancelled) == (State.FAILED, True)
    assert cancelled_job.timeline()[-1] | {"at": 0} == {"event": "cancelled", "at": 0, "reason": "not wanted any more"}
    tally = view.facts().tally(5)
    assert (tally.cancelled, tally.failed) == (1, 0)
    check_queue(redis_client)


@RARE_BEATS
def test_a_running_job_is_interrupted_at_once_and_spends_its_retries_on_nothing(
    broker: JobBroker, view: QueueView, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    began, cleaned = threading.Event(), threading.Event()

    @dramatiq.actor(max_retries=5, min_backoff=1)
    def job() -> None:
        began.set()
        try:
            while True:
                time.sleep(0.001)
        finally:
            cleaned.set()

    message = job.send()
    with running(broker):
        assert began.wait(5)
        assert view.cancel(message.message_id, "enough") == "asked"
        # Told, it does not wait for the next beat, which would be after 15 s.
        assert cleaned.wait(10)
        wait_until(lambda: endings)
    cancelled_job = stored(view, message)
    assert (cancelled_job.state, cancelled_job.cancelled) == (State.FAILED, True)
    assert endings[0].outcome is Outcome.CANCELLED
    assert endings[0].error == "cancelled: enough"


def test_a_job_that_python_cannot_interrupt_sees_that_it_shall_end(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    from nomad_actors.broker.worker.lease import CURRENT

    began, go = threading.Event(), threading.Event()
    seen: list[str | None] = []

    @dramatiq.actor(max_retries=5)
    def job() -> None:
        lease = CURRENT.get()
        assert lease is not None
        began.set()
        try:
            go.wait(20)
        finally:
            seen.append(lease.cancel_reason)

    message = job.send()
    with running(broker):
        assert began.wait(5)
        view.cancel(message.message_id, "enough")
        assert stored(view, message).state is State.ACTIVE
        assert stored(view, message).cancel_reason == "enough"
        session = broker._session
        assert session is not None
        wait_until(lambda: session.running()[0].cancel_reason)
        go.set()
        wait_until(lambda: stored(view, message).state is State.FAILED)
    assert seen == ["enough"]


def test_a_cancelled_job_that_completes_all_the_same_has_completed(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    began, go = threading.Event(), threading.Event()

    @dramatiq.actor
    def job() -> None:
        began.set()
        try:
            go.wait(20)
        except BaseException:
            return

    message = job.send()
    with running(broker):
        assert began.wait(5)
        view.cancel(message.message_id, "enough")
        go.set()
        wait_until(lambda: endings)
    assert stored(view, message).state is State.COMPLETED


def test_a_cancel_never_hits_the_next_job_on_the_thread(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    """Jobs of next to no length, each cancelled as it begins: whatever was not asked for completes."""
    victims: list[str] = []
    began: threading.Event = threading.Event()

    @dramatiq.actor(max_retries=0)
    def victim() -> None:
        began.set()

    @dramatiq.actor(max_retries=0, queue_name="default")
    def innocent() -> None:
        sum(range(300))

    with running(broker, threads=1) as worker:
        for _ in range(150):
            began.clear()
            message = victim.send()
            victims.append(message.message_id)
            innocents = [innocent.send() for _ in range(3)]
            assert began.wait(5)
            view.cancel(message.message_id, "now")
            wait_until(lambda: not view.counts().waiting and not view.counts().active)
            assert {stored(view, i).state for i in innocents} == {State.COMPLETED}
        assert worker.workers[0].is_alive()
    assert view.counts().failed + view.counts().completed == 600


def test_a_cancel_that_the_worker_missed_comes_with_the_next_heartbeat(
    make_broker: Callable[..., JobBroker], redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    broker = make_broker(lease_ms=400)
    began = threading.Event()

    def job() -> None:
        began.set()
        while True:
            time.sleep(0.001)

    message = dramatiq.actor(job, broker=broker).send()
    view = broker.view("default")
    with running(broker):
        assert began.wait(5)
        (stored_id,) = redis_client.hkeys("nomad:{default}:active")
        lease = redis_client.hget("nomad:{default}:active", stored_id)
        redis_client.hset("nomad:{default}:active", stored_id, lease + b"unheard")  # type: ignore[operator]
        wait_until(lambda: stored(view, message).state is State.FAILED, timeout_seconds=5)
    assert stored(view, message).cancelled


def test_a_job_that_is_to_be_retried_when_its_cancel_arrives_is_cancelled(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    began, go = threading.Event(), threading.Event()

    @dramatiq.actor(max_retries=5, min_backoff=60_000)
    def job() -> None:
        began.set()
        go.wait(20)
        raise ValueError("once more, please")

    message = job.send()
    with running(broker):
        assert began.wait(5)
        (stored_id,) = redis_client.hkeys("nomad:{default}:active")
        lease = redis_client.hget("nomad:{default}:active", stored_id)
        redis_client.hset("nomad:{default}:active", stored_id, lease + b"in Redis alone")  # type: ignore[operator]
        go.set()
        wait_until(lambda: stored(view, message).state is State.FAILED)
    cancelled_job = stored(view, message)
    assert cancelled_job.cancelled
    assert [event["event"] for event in cancelled_job.timeline()] == ["enqueued", "started", "error", "cancelled"]


def test_what_has_ended_or_never_was_cannot_be_cancelled(broker: JobBroker, view: QueueView) -> None:
    message = dramatiq.actor(lambda: None, actor_name="job").send()
    with running(broker):
        broker.join("default", timeout=5000)
    assert view.cancel(message.message_id, "late") == "completed"
    assert view.cancel("nobody", "late") == "missing"
