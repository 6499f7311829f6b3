"""Workers that are lost: their jobs start again, elsewhere, in time; what only looks like a loss blames nobody."""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Callable

import dramatiq
import pytest
import redis
from dramatiq.threading import Interrupt, raise_thread_exception

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, State, records
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.endings import Outcome
from nomad_actors.testing import running
from tests.broker.conftest import Endings

LEASE_MS = 600
DEAD = b"deadbeef"
ACTIVE = "nomad:{default}:active"
WORKERS = "nomad:{default}:workers"


@pytest.fixture
def quick(make_broker: Callable[..., JobBroker]) -> JobBroker:
    """A broker whose workers are gone when unheard for 0.6 s."""
    broker = make_broker(lease_ms=LEASE_MS)
    dramatiq.set_broker(broker)
    return broker


@pytest.fixture
def view(quick: JobBroker) -> QueueView:
    return quick.view("default")


def lose(broker: JobBroker, job_ids: list[str], *, worker: bytes = DEAD, request: int = 1) -> None:
    """Lease jobs to a worker that will never be heard of again."""
    reply = broker._links.run([start_call(broker, worker, request, len(job_ids))])[0]
    assert (len(reply) - 3) // 4 == len(job_ids)


def start_call(broker: JobBroker, worker: bytes, request: int, free: int, suspects: int = 1) -> Call:
    return Call("start", broker._base("default"), (worker, request, free, "dead:1", suspects))


@pytest.mark.parametrize("indexed", [(), ("number",)])
def test_the_jobs_of_a_worker_that_is_gone_run_again_with_their_attempt_unspent(
    quick: JobBroker,
    view: QueueView,
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
    indexed: tuple[str, ...],
) -> None:
    seen = Endings()
    quick.add_middleware(seen)
    ran: list[int] = []
    job = dramatiq.actor(lambda number: ran.append(number), actor_name="job", max_retries=0, indexed=indexed)
    messages = [job.send(number=number) for number in range(3)]
    lose(quick, [m.message_id for m in messages])
    with running(quick):
        wait_until(lambda: sorted(ran) == [0, 1, 2], timeout_seconds=5)
        wait_until(lambda: len(seen.seen) == 6)
    told = view.get(messages[0].message_id)
    assert told is not None
    assert told.record is not None
    assert [event["event"] for event in told.timeline()] == [
        *("enqueued", "started", "recovered", "started", "completed"),
    ]
    assert told.timeline()[1]["worker"] == "dead:1"
    assert (told.record.header.crashes, told.record.header.attempts) == (1, 1)
    recovered = [e for e in seen.seen if e.outcome is Outcome.RECOVERED]
    assert [(e.actor, e.message.kwargs if e.message else None) for e in recovered] == [
        ("job", {"number": number}) for number in range(3)
    ]
    assert view.counts().recovered == 3
    assert view.facts().tally(5).recovered == 3
    check_queue(redis_client)


def test_a_lease_that_cannot_be_read_is_nobodys_and_goes_back(
    quick: JobBroker, view: QueueView, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    ran: list[int] = []
    message = dramatiq.actor(ran.append, actor_name="job", max_retries=0).send(1)
    lose(quick, [message.message_id])
    redis_client.hset(ACTIVE, records.pack_id(message.message_id), b"x")  # type: ignore[arg-type]
    stored = view.get(message.message_id)
    assert stored is not None
    assert (stored.state, stored.running_since_ms) == (State.ACTIVE, None)
    with running(quick):
        wait_until(lambda: ran == [1])
        wait_until(lambda: view.counts().completed == 1)
    check_queue(redis_client)


def test_a_job_that_lost_three_workers_fails_with_that_reason(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    ran: list[int] = []
    job = dramatiq.actor(ran.append, actor_name="job").send(1)
    keeper = dramatiq.actor(lambda: None, actor_name="keeper", queue_name="keeper")
    del keeper
    # A live process that serves the queue without taking from it: what it recovers stays.
    with running(quick, queues={"keeper"}):
        for request in (1, 2, 3):
            lose(quick, [job.message_id], worker=b"dead%04d" % request, request=request)
            wait_until(
                lambda: beat(quick) or not view.counts().active, timeout_seconds=10, what="the lease was not taken back"
            )
    told = view.get(job.message_id)
    assert told is not None
    assert told.state is State.FAILED
    assert told.timeline()[-1]["reason"] == "lost its worker 3 times"
    assert (view.counts().recovered, view.counts().poison) == (3, 1)
    assert not ran


def beat(broker: JobBroker, worker: bytes = b"reaper!!", held: tuple[bytes, ...] = ()) -> list[object]:
    """Send one beat of a worker; True-ish only by what it returns."""
    reply = broker._links.run(
        [Call("heartbeat", broker._base("default"), (worker, "reaper:1", 0, LEASE_MS, "", *held))]
    )[0]
    assert len(reply) == 9
    return []


def test_a_tick_after_a_gap_gives_everybody_a_full_lease(
    quick: JobBroker, view: QueueView, redis_client: redis.Redis
) -> None:
    """Redis was away, the host slept or the clock stepped: nobody was silent for as long as the clock says."""
    job = dramatiq.actor(lambda: None, actor_name="job").send()
    lose(quick, [job.message_id])
    beat(quick)
    for clock_error_ms in (-3_600_000, 3_600_000):
        # As if the last tick had been an hour ago, or an hour ahead.
        tick = redis_client.hget(WORKERS, "tick")
        assert tick is not None
        shift_tick(redis_client, clock_error_ms)
        beat(quick)
        assert view.counts().active == 1
    told = view.get(job.message_id)
    assert told is not None
    assert told.record is not None
    assert told.record.header.crashes == 0


def shift_tick(client: redis.Redis, by_ms: int) -> None:
    tick = client.hget(WORKERS, "tick")
    (last,) = struct.unpack_from(">d", tick)  # type: ignore[arg-type]
    client.hset(WORKERS, "tick", struct.pack(">d", last + by_ms) + tick[8:])  # type: ignore[index]


def test_a_lease_that_its_living_worker_does_not_name_goes_back_and_nobody_is_blamed(
    quick: JobBroker, view: QueueView
) -> None:
    job = dramatiq.actor(lambda: None, actor_name="job").send()
    lose(quick, [job.message_id])
    # The worker lives, has the answer to its first request, and holds nothing.
    quick._links.run([Call("heartbeat", quick._base("default"), (DEAD, "dead:1", 1, LEASE_MS))])
    told = view.get(job.message_id)
    assert told is not None
    assert told.record is not None
    assert told.state is State.WAITING
    assert told.record.header.crashes == 0
    assert told.timeline()[-1]["reason"] == "its worker never received it"


def test_a_worker_that_was_only_unheard_takes_the_crash_back(
    quick: JobBroker, view: QueueView, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    began, go = threading.Event(), threading.Event()
    runs: list[int] = []

    @dramatiq.actor(max_retries=0)
    def job() -> None:
        runs.append(1)
        began.set()
        if len(runs) == 1:
            go.wait(20)

    message = job.send()
    with running(quick, threads=1):
        assert began.wait(5)
        # Redis takes it for dead, as after a stop of its whole process; its next beat says otherwise.
        wait_until(lambda: forge_silence(quick, redis_client) or view.counts().recovered == 1)
        wait_until(lambda: view.counts().late == 1)
        go.set()
        quick.join("default", timeout=10_000)
    told = view.get(message.message_id)
    assert told is not None
    assert told.record is not None
    assert told.state is State.COMPLETED
    assert "late" in [event["event"] for event in told.timeline()]
    assert view.counts().late == 1
    assert len(runs) == 2


def test_a_crash_of_a_jobs_earlier_life_is_not_taken_from_its_present_one(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    job = dramatiq.actor(lambda: None, actor_name="job").send()
    dramatiq.actor(lambda: None, actor_name="keeper", queue_name="keeper")

    def lost_with(worker: bytes) -> None:
        with running(quick, queues={"keeper"}):
            lose(quick, [job.message_id], worker=worker)
            wait_until(lambda: beat(quick) or not view.counts().active, timeout_seconds=10)

    lost_with(b"dead0001")
    with running(quick):
        wait_until(lambda: view.counts().completed == 1)
    ended = view.get(job.message_id)
    assert ended is not None
    assert view.retry(ended) == "ok"
    lost_with(b"dead0002")
    # The first of them is heard of after all; what it cost the job was forgiven with the new life.
    token = records.TOKEN.pack(b"dead0001", 1, 1)
    beat(quick, b"dead0001", (records.pack_id(job.message_id), token))
    told = view.get(job.message_id)
    assert told is not None
    assert told.record is not None
    assert told.record.header.crashes == 1
    # The second's still counts, until it is heard of too.
    beat(quick, b"dead0002", (records.pack_id(job.message_id), records.TOKEN.pack(b"dead0002", 1, 1)))
    told = view.get(job.message_id)
    assert told is not None
    assert told.record is not None
    assert told.record.header.crashes == 0


def forge_silence(broker: JobBroker, client: redis.Redis) -> None:
    """Have the reaper believe that every worker was silent for a lease's time."""
    for worker, mark in client.hgetall(WORKERS).items():  # type: ignore[union-attr]
        if worker != b"tick":
            heard, request, _ = struct.unpack_from(">dId", mark)
            client.hset(WORKERS, worker, struct.pack(">dId", heard - 10_000, request, 10_000.0) + mark[20:])
    if client.hexists(WORKERS, "tick"):
        # The last tick was long enough ago for another.
        shift_tick(client, -LEASE_MS // 3)
    beat(broker)


def test_jobs_that_were_present_at_a_crash_do_not_run_beside_each_other_again(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    together: list[int] = []
    running_now: set[int] = set()
    lock = threading.Lock()

    @dramatiq.actor(max_retries=0)
    def job(number: int) -> None:
        with lock:
            running_now.add(number)
            together.append(sum(1 for n in running_now if n < 4))
        threading.Event().wait(0.05)
        with lock:
            running_now.discard(number)

    suspects = [job.send(number) for number in range(4)]
    lose(quick, [m.message_id for m in suspects])
    for number in range(4, 10):
        job.send(number)
    with running(quick, threads=8):
        wait_until(lambda: len(together) == 10, timeout_seconds=10)
        quick.join("default", timeout=5000)
    assert max(together) == 1
    assert view.counts().completed == 10


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_is_replaced_and_its_job_ends_as_it_was_to(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    class Deadly(dramatiq.Middleware):
        """Ends the thread as an interrupt does that strikes outside of a job."""

        def before_ack(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
            if next(iter(message.args)) != "live":
                raise_thread_exception(threading.get_ident(), Interrupt)
                while True:
                    time.sleep(0.001)

    class DeadlyHandler(logging.Handler):
        """Ends it before the job is through: Dramatiq logs what the job raised first of all."""

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
    completed, failed = view.get(first.message_id), view.get(second.message_id)
    assert completed is not None
    assert completed.state is State.COMPLETED
    assert failed is not None
    assert failed.timeline()[-1]["reason"] == "ValueError: die early"


def test_a_paused_workers_running_job_is_not_taken_for_lost(
    quick: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    """Dramatiq's Worker closes its consumers when it is paused; what runs, runs on."""
    began, go = threading.Event(), threading.Event()

    @dramatiq.actor(max_retries=0)
    def job() -> None:
        began.set()
        go.wait(20)

    message = job.send()
    with running(quick, threads=2) as worker:
        assert began.wait(5)
        for consumer in worker.consumers.values():
            consumer.pause()
        session = quick._session
        assert session is not None
        wait_until(lambda: not session._held.by_name["default"].attached)
        # Another process ticks for longer than a lease.
        deadline = threading.Event()
        threading.Timer(3 * LEASE_MS / 1000, deadline.set).start()
        wait_until(lambda: beat(quick) or deadline.is_set())
        go.set()
        wait_until(lambda: view.counts().completed == 1)
        worker.resume()
    told = view.get(message.message_id)
    assert told is not None
    assert "recovered" not in [event["event"] for event in told.timeline()]


def test_a_process_that_comes_ticks_at_once(
    make_broker: Callable[..., JobBroker], redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    """Where processes die before their second beat is due, the jobs of the dead are missed all the same."""
    broker = make_broker(lease_ms=600_000)
    broker.declare_queue("default")
    with running(broker):
        wait_until(lambda: redis_client.hexists("nomad:{default}:workers", "tick"), timeout_seconds=3)
