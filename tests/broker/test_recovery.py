"""Lost workers: their jobs are recovered in time; a worker that only looks lost does not cost them a crash."""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.threading import Interrupt, raise_thread_exception

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, State, records
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.endings import Outcome
from nomad_actors.broker.records.stored_job import StoredJob
from nomad_actors.testing import running
from tests.broker.conftest import Endings

LEASE_MS = 600
DEAD = b"deadbeef"
ACTIVE = "nomad:{default}:active"
WORKERS = "nomad:{default}:workers"


@pytest.fixture
def quick(make_broker: Callable[..., JobBroker]) -> JobBroker:
    broker = make_broker(lease_ms=LEASE_MS)
    dramatiq.set_broker(broker)
    return broker


@pytest.fixture
def view(quick: JobBroker) -> QueueView:
    return quick.view("default")


def lose(broker: JobBroker, job_ids: list[str], *, worker: bytes = DEAD, request: int = 1) -> None:
    """Lease jobs to a worker that sends no heartbeat."""
    reply = broker._links.run([start_call(broker, worker, request, len(job_ids))])[0]
    assert (len(reply) - 3) // 4 == len(job_ids)


def stored_job(view: QueueView, message: dramatiq.Message[Any]) -> StoredJob:
    job = view.get(message.message_id)
    assert job is not None
    return job


def crashes_of(job: StoredJob) -> int:
    assert job.record is not None
    return job.record.header.crashes


def events_of(job: StoredJob) -> list[object]:
    return [event["event"] for event in job.timeline()]


def start_call(broker: JobBroker, worker: bytes, request: int, free: int, suspects: int = 1) -> Call:
    return Call("start", broker._base("default"), (worker, request, free, "dead:1", suspects))


@pytest.mark.parametrize("indexed", [(), ("number",)])
def test_jobs_of_a_lost_worker_run_again_without_spending_an_attempt(
    quick: JobBroker,
    view: QueueView,
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
    indexed: tuple[str, ...],
) -> None:
    endings = Endings()
    quick.add_middleware(endings)
    ran: list[int] = []
    job = dramatiq.actor(lambda number: ran.append(number), actor_name="job", max_retries=0, indexed=indexed)
    messages = [job.send(number=number) for number in range(3)]
    lose(quick, [m.message_id for m in messages])

    with running(quick):
        wait_until(lambda: sorted(ran) == [0, 1, 2], timeout_seconds=5)
        wait_until(lambda: len(endings.seen) == 6)

    first = stored_job(view, messages[0])
    assert events_of(first) == ["enqueued", "started", "recovered", "started", "completed"]
    assert first.timeline()[1]["worker"] == "dead:1"
    assert first.record is not None
    assert (crashes_of(first), first.record.header.attempts) == (1, 1)
    recovered = [e for e in endings.seen if e.outcome is Outcome.RECOVERED]
    assert [(e.actor, e.message.kwargs if e.message else None) for e in recovered] == [
        ("job", {"number": number}) for number in range(3)
    ]
    assert view.counts().recovered == 3
    assert view.facts().tally(5).recovered == 3
    check_queue(redis_client)


def test_a_job_with_an_unreadable_lease_is_recovered(
    quick: JobBroker, view: QueueView, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    ran: list[int] = []
    message = dramatiq.actor(ran.append, actor_name="job", max_retries=0).send(1)
    lose(quick, [message.message_id])
    redis_client.hset(ACTIVE, records.pack_id(message.message_id), b"x")  # type: ignore[arg-type]
    before = stored_job(view, message)

    with running(quick):
        wait_until(lambda: ran == [1])
        wait_until(lambda: view.counts().completed == 1)

    assert (before.state, before.running_since_ms) == (State.ACTIVE, None)
    check_queue(redis_client)


def test_a_job_that_lost_three_workers_fails_with_that_reason(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    ran: list[int] = []
    message = dramatiq.actor(ran.append, actor_name="job").send(1)

    for number in (1, 2, 3):
        lose(quick, [message.message_id], worker=b"dead%04d" % number, request=number)
        wait_until(lambda: recovers(quick, view), timeout_seconds=10, what="the job was not recovered")

    job = stored_job(view, message)
    assert job.state is State.FAILED
    assert job.timeline()[-1]["reason"] == "lost its worker 3 times"
    assert (view.counts().recovered, view.counts().poison) == (3, 1)
    assert not ran


def beat(broker: JobBroker, worker: bytes = b"reaper!!", held: tuple[bytes, ...] = ()) -> None:
    """Send one heartbeat of a worker that holds these ids and tokens."""
    reply = broker._links.run(
        [Call("heartbeat", broker._base("default"), (worker, "reaper:1", 0, LEASE_MS, "", *held))]
    )[0]
    assert len(reply) == 9


def recovers(broker: JobBroker, view: QueueView) -> bool:
    """Send a heartbeat of another worker; return True once no job is active."""
    beat(broker)
    return view.counts().active == 0


def test_a_tick_after_a_gap_gives_every_worker_a_full_lease(
    quick: JobBroker, view: QueueView, redis_client: redis.Redis
) -> None:
    # The gap may be a lost Redis, a sleeping host or a stepped clock.
    message = dramatiq.actor(lambda: None, actor_name="job").send()
    lose(quick, [message.message_id])
    beat(quick)

    for clock_error_ms in (-3_600_000, 3_600_000):
        shift_tick(redis_client, clock_error_ms)
        beat(quick)
        assert view.counts().active == 1

    assert crashes_of(stored_job(view, message)) == 0


def shift_tick(client: redis.Redis, by_ms: int) -> None:
    tick = client.hget(WORKERS, "tick")
    (last,) = struct.unpack_from(">d", tick)  # type: ignore[arg-type]
    client.hset(WORKERS, "tick", struct.pack(">d", last + by_ms) + tick[8:])  # type: ignore[index]


def test_a_lease_that_its_live_worker_does_not_name_is_recovered_without_a_crash(
    quick: JobBroker, view: QueueView
) -> None:
    message = dramatiq.actor(lambda: None, actor_name="job").send()
    lose(quick, [message.message_id])

    # The worker has the reply to its first request, and names no job.
    quick._links.run([Call("heartbeat", quick._base("default"), (DEAD, "dead:1", 1, LEASE_MS))])

    job = stored_job(view, message)
    assert (job.state, crashes_of(job)) == (State.WAITING, 0)
    assert job.timeline()[-1]["reason"] == "its worker never received it"


def test_a_late_heartbeat_undoes_the_counted_crash(
    quick: JobBroker, view: QueueView, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    began, may_end = threading.Event(), threading.Event()
    runs: list[int] = []

    @dramatiq.actor(max_retries=0)
    def job() -> None:
        runs.append(1)
        began.set()
        if len(runs) == 1:
            may_end.wait(20)

    message = job.send()
    with running(quick, threads=1):
        assert began.wait(5)
        # The job is recovered, as if its process had been frozen; the worker's next heartbeat shows that it lives.
        wait_until(lambda: recovers_after_silence(quick, redis_client, view))
        wait_until(lambda: view.counts().late == 1)
        may_end.set()
        quick.join("default", timeout=10_000)

    completed = stored_job(view, message)
    assert completed.state is State.COMPLETED
    assert "late" in events_of(completed)
    assert view.counts().late == 1
    assert len(runs) == 2


def test_a_late_heartbeat_does_not_undo_a_crash_counted_after_a_retry(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    message = dramatiq.actor(lambda: None, actor_name="job").send()
    stored_id = records.pack_id(message.message_id)

    def lose_worker(worker: bytes) -> None:
        lose(quick, [message.message_id], worker=worker)
        wait_until(lambda: recovers(quick, view), timeout_seconds=10)

    lose_worker(b"dead0001")
    with running(quick):
        wait_until(lambda: view.counts().completed == 1)
    assert view.retry(stored_job(view, message)) == "ok"
    lose_worker(b"dead0002")

    beat(quick, b"dead0001", (stored_id, records.TOKEN.pack(b"dead0001", 1, 1)))
    assert crashes_of(stored_job(view, message)) == 1
    beat(quick, b"dead0002", (stored_id, records.TOKEN.pack(b"dead0002", 1, 1)))
    assert crashes_of(stored_job(view, message)) == 0


def recovers_after_silence(broker: JobBroker, client: redis.Redis, view: QueueView) -> bool:
    """Make all workers look silent for longer than a lease, and tick; return True once a job is recovered."""
    for worker, mark in client.hgetall(WORKERS).items():  # type: ignore[union-attr]
        if worker != b"tick":
            heard, request, _ = struct.unpack_from(">dId", mark)
            client.hset(WORKERS, worker, struct.pack(">dId", heard - 10_000, request, 10_000.0) + mark[20:])
    if client.hexists(WORKERS, "tick"):
        # Far enough in the past that the next heartbeat ticks.
        shift_tick(client, -LEASE_MS // 3)
    beat(broker)
    return view.counts().recovered == 1


def test_jobs_of_a_lost_worker_do_not_run_at_the_same_time_again(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    running_suspects: list[int] = []
    running_now: set[int] = set()
    lock = threading.Lock()

    @dramatiq.actor(max_retries=0)
    def job(number: int) -> None:
        with lock:
            running_now.add(number)
            running_suspects.append(sum(1 for n in running_now if n < 4))
        threading.Event().wait(0.05)
        with lock:
            running_now.discard(number)

    suspects = [job.send(number) for number in range(4)]
    lose(quick, [m.message_id for m in suspects])
    for number in range(4, 10):
        job.send(number)
    with running(quick, threads=8):
        wait_until(lambda: len(running_suspects) == 10, timeout_seconds=10)
        quick.join("default", timeout=5000)

    assert max(running_suspects) == 1
    assert view.counts().completed == 10


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_is_replaced_and_its_job_keeps_its_outcome(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    class Deadly(dramatiq.Middleware):
        """Kills the thread by an interrupt outside the actor."""

        def before_ack(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
            if next(iter(message.args)) != "live":
                raise_thread_exception(threading.get_ident(), Interrupt)
                while True:
                    time.sleep(0.001)

    class DeadlyHandler(logging.Handler):
        """Kills the thread before the run is over: Dramatiq logs the job's error first."""

        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit

    quick.add_middleware(Deadly())
    handler = DeadlyHandler(logging.ERROR)
    logger = logging.getLogger("dramatiq.worker.WorkerThread")
    logger.addHandler(handler)
    request.addfinalizer(lambda: logger.removeHandler(handler))
    ran: list[str] = []

    @dramatiq.actor(max_retries=0)
    def job(what: str) -> None:
        ran.append(what)
        if what == "die early":
            raise ValueError(what)

    with running(quick, threads=1) as worker:
        first = job.send("die")
        wait_until(lambda: view.counts().completed == 1, timeout_seconds=5)
        second = job.send("die early")
        wait_until(lambda: view.counts().failed == 1, timeout_seconds=5)
        job.send("live")
        wait_until(lambda: "live" in ran)
        assert len(worker.workers) == 1

    assert stored_job(view, first).state is State.COMPLETED
    assert stored_job(view, second).timeline()[-1]["reason"] == "ValueError: die early"


def test_a_running_job_of_a_paused_worker_is_not_recovered(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    # Dramatiq's Worker closes its consumers when it is paused; running jobs continue.
    began, may_end = threading.Event(), threading.Event()

    @dramatiq.actor(max_retries=0)
    def job() -> None:
        began.set()
        may_end.wait(20)

    message = job.send()
    with running(quick, threads=2) as worker:
        assert began.wait(5)
        for consumer in worker.consumers.values():
            consumer.pause()
        session = quick._session
        assert session is not None
        wait_until(lambda: not session._held.by_name["default"].attached)
        # Another process ticks for longer than a lease.
        until_mono = time.monotonic() + 3 * LEASE_MS / 1000
        while time.monotonic() < until_mono:
            beat(quick)
            time.sleep(0.01)
        may_end.set()
        wait_until(lambda: view.counts().completed == 1)
        worker.resume()

    assert "recovered" not in events_of(stored_job(view, message))


def test_a_new_process_ticks_at_once(
    make_broker: Callable[..., JobBroker], redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    # Lost jobs are recovered even if every process dies before its second heartbeat.
    broker = make_broker(lease_ms=600_000)
    broker.declare_queue("default")
    with running(broker):
        wait_until(lambda: redis_client.hexists("nomad:{default}:workers", "tick"), timeout_seconds=3)
