"""Numbers that the stored form gives a fixed width: at its end they stand still or begin anew, and break nothing."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
import redis

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, Retention, records
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.client.queue_facts import MARK
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.constants import MAX_ATTEMPTS, REQUESTS
from nomad_actors.broker.errors import BadOption, BadPriority
from nomad_actors.broker.keys import MAX_PRIORITY
from nomad_actors.broker.records import HEADER, MAX_ID_BYTES
from nomad_actors.broker.records.notes import unpack as unpack_notes
from nomad_actors.broker.worker.queue_state import QueueOptions, QueueState
from nomad_actors.testing import running

BASE = "nomad:{default}"
JOBS = f"{BASE}:jobs"
WORKER = b"deadbeef"


@pytest.fixture
def view(broker: JobBroker) -> QueueView:
    return broker.view("default")


def set_header(redis_client: redis.Redis, message: dramatiq.Message[Any], **fields: int) -> None:
    """Write a number into a stored job's header."""
    stored_id = records.pack_id(message.message_id)
    value = redis_client.hget(JOBS, stored_id)
    assert isinstance(value, bytes)
    names = ("version", "priority", "attempts", "crashes", "flags")
    bulk_parts = list(HEADER.unpack_from(value))
    for name, number in fields.items():
        bulk_parts[names.index(name)] = number
    redis_client.hset(JOBS, stored_id, HEADER.pack(*bulk_parts) + value[HEADER.size :])


@pytest.mark.parametrize(
    ("before", "after"), [(MAX_ATTEMPTS - 2, MAX_ATTEMPTS - 1), (MAX_ATTEMPTS - 1, MAX_ATTEMPTS), (MAX_ATTEMPTS,) * 2]
)
def test_attempts_stand_still_at_the_most_that_is_kept(
    broker: JobBroker,
    view: QueueView,
    redis_client: redis.Redis,
    before: int,
    after: int,
    wait_until: Callable[..., None],
) -> None:
    seen: list[int] = []

    @dramatiq.actor(max_retries=1, min_backoff=60_000)
    def job() -> None:
        seen.append(before)
        raise ValueError

    message = job.send()
    set_header(redis_client, message, attempts=before)
    with running(broker, threads=1):
        wait_until(lambda: view.counts().delayed == 1)
    stored = view.get(message.message_id)
    assert stored is not None
    assert stored.record is not None
    assert stored.record.header.attempts == after
    assert len(seen) == 1


def test_crashes_stand_still_too(
    make_broker: Callable[..., JobBroker], redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    broker = make_broker(lease_ms=400)
    message = dramatiq.actor(lambda: None, broker=broker, actor_name="job").send()
    set_header(redis_client, message, crashes=255)
    # A worker that nobody hears of again takes it.
    broker._links.run([Call("start", BASE, (WORKER, 1, 1, "lost", 1))])
    view = broker.view("default")
    with running(broker, threads=1):
        wait_until(lambda: view.counts().failed == 1, timeout_seconds=10)
    stored = view.get(message.message_id)
    assert stored is not None
    assert stored.record is not None
    assert stored.record.header.crashes == 255


@pytest.mark.parametrize("is_forgotten", [False, True])
@pytest.mark.parametrize("first", [REQUESTS - 3, REQUESTS - 1, REQUESTS // 2 - 1])
def test_requests_begin_anew_and_lose_no_lease(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis, first: int, is_forgotten: bool
) -> None:
    ran: list[int] = []
    job = dramatiq.actor(ran.append, actor_name="job")
    for number in range(12):
        job.send(number)
    session = broker._sessions._make(None, 1)
    broker._sessions._of[None] = session
    state = session._held.by_name["default"] = QueueState("default", BASE, 1, QueueOptions(), request=first)
    heard_ms = 0.0 if is_forgotten else time.time() * 1000
    redis_client.hset(f"{BASE}:workers", session.worker_id, MARK.pack(heard_ms, first, 0.0) + b"name")
    consumer = broker.consume("default", timeout=2_000)
    inbox = session.attach("default", 1)
    for number in range(12):
        message = inbox.get(timeout=5)
        assert message.args == (number,)
        consumer.ack(message)
    consumer.close()
    assert state.request < REQUESTS
    session.close()
    assert view.counts().completed == 12
    check_queue(redis_client)


def test_a_request_whose_reply_was_lost_at_the_border_gets_the_same_jobs(
    broker: JobBroker, redis_client: redis.Redis
) -> None:
    job = dramatiq.actor(lambda: None, actor_name="job")
    for _ in range(6):
        job.send()
    redis_client.hset(f"{BASE}:workers", WORKER, MARK.pack(0.0, REQUESTS - 2, 0.0) + b"name")

    def ask(request: int) -> list[Any]:
        (reply,) = broker._links.run([Call("start", BASE, (WORKER, request, 2, "name", 1))])
        return sorted(reply[3::4])

    last = ask(REQUESTS - 1)
    assert len(last) == 2
    assert ask(REQUESTS - 1) == last
    anew = ask(0)
    assert len(anew) == 2
    assert ask(0) == anew
    # Overtaken: nobody waits for its answer.
    assert ask(REQUESTS - 1) == []
    assert not set(anew) & set(last)


def test_counters_of_failure_groups_and_log_lines_stop_at_their_maximum(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    began, resume = threading.Event(), threading.Event()

    @dramatiq.actor(max_retries=0)
    def job(waits: bool) -> None:
        if waits:
            began.set()
            resume.wait(10)
        raise ValueError("always the same")

    with running(broker, threads=1):
        job.send(False)
        wait_until(lambda: view.counts().failed == 1)
        ((term, kept),) = redis_client.hgetall(f"{BASE}:faults").items()  # type: ignore[union-attr]
        redis_client.hset(f"{BASE}:faults", term, struct.pack(">ddI", 1.0, 2.0, 2**32 - 1) + kept[20:])
        message = job.send(True)
        assert began.wait(5)
        stored_id = records.pack_id(message.message_id)
        token = redis_client.hget(f"{BASE}:active", stored_id)[:14]  # type: ignore[index]
        redis_client.hset(f"{BASE}:notes", stored_id, struct.pack(">14sIII", token, 2**32 - 1, 2**32 - 1, 0))
        report_lines = [part for i in range(20) for part in (float(i + 1), b"x" * 1000)]
        broker._links.run([Call("report", BASE, (stored_id, token, 2**32, b"", *report_lines))])
        notes = unpack_notes(redis_client.hget(f"{BASE}:notes", stored_id))  # type: ignore[arg-type]
        assert notes.dropped == 2**32 - 1
        assert notes.lines
        resume.set()
        wait_until(lambda: view.counts().failed == 2)
    kept = redis_client.hget(f"{BASE}:faults", term)
    assert struct.unpack_from(">ddI", kept)[2] == 2**32 - 1  # type: ignore[arg-type]


def test_a_queues_own_numbers_never_reach_into_the_next_priority(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis
) -> None:
    ran: list[int] = []
    job = dramatiq.actor(ran.append, actor_name="job")
    redis_client.hset(f"{BASE}:meta", "seq", 2**40 - 3)
    for number in range(6):
        job.send_with_options(args=(number,), priority=0)
    job.send_with_options(args=(100,), priority=1)
    job.send_with_options(args=(-100,), priority=-1)
    with running(broker, threads=1):
        broker.join("default", timeout=5000)
    assert ran[0] == -100
    assert ran[-1] == 100
    assert sorted(ran[1:-1]) == list(range(6))


@pytest.mark.parametrize("priority", [MAX_PRIORITY, -MAX_PRIORITY])
def test_the_utmost_priorities_are_kept(broker: JobBroker, view: QueueView, priority: int) -> None:
    job = dramatiq.actor(lambda: None, actor_name="job")
    message = job.send_with_options(priority=priority)
    stored = view.get(message.message_id)
    assert stored is not None
    assert stored.record is not None
    assert stored.record.header.priority == priority
    with pytest.raises(BadPriority):
        job.send_with_options(priority=priority + (1 if priority > 0 else -1))


def test_an_id_longer_than_its_length_field_is_refused(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    job = dramatiq.actor(lambda: None, actor_name="job")
    longest = job.message().copy(message_id="x" * MAX_ID_BYTES)
    too_long = job.message().copy(message_id="x" * (MAX_ID_BYTES + 1))
    for add in (broker.enqueue, lambda message: broker.enqueue_many([(message, 0)])):
        with pytest.raises(BadOption, match=f"message_id of {MAX_ID_BYTES + 1} bytes"):
            add(too_long)
        add(longest)
    assert view.cancel(longest.message_id, "why not") == "ok"
    assert view.cancel(too_long.message_id, "why not") == "missing"


def test_retention_is_bounded_by_what_is_kept_of_it(broker: JobBroker, redis_client: redis.Redis) -> None:
    most = Retention(completed=2**32 - 1, failed=2**32 - 1, completed_ms=10**12, failed_ms=10**12)
    broker.declare_queue("default", retention=most)
    job = dramatiq.actor(lambda: None, actor_name="job")
    job.send()
    with running(broker, threads=1):
        broker.join("default", timeout=5000)
        kept = redis_client.hget(f"{BASE}:meta", "keep")
    assert struct.unpack(">IdId", kept) == (2**32 - 1, 1e12, 2**32 - 1, 1e12)  # type: ignore[arg-type]
    assert broker.view("default").counts().completed == 1
    with pytest.raises(ValueError, match="completed 4294967296 is invalid"):
        Retention(completed=2**32)
