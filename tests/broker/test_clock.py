"""Redis' clock is set by an hour while jobs wait and run: nothing starts early, nothing is left behind."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator

import dramatiq
import pytest
import redis

from chaos.stepped_redis import NoSteppedRedis, SteppedRedis
from nomad_actors.broker import JobBroker
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.redis_clock import ClockReading, ClockReply, is_readable
from nomad_actors.testing import running

LEASE_MS = 1_000
HOUR = 3600
META, WORKERS = "nomad:{default}:meta", "nomad:{default}:workers"
WORKER, OTHER = b"worker-1", b"worker-2"


@pytest.fixture(scope="module")
def stepped_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteppedRedis]:
    """A Redis whose clock can be set; the test is skipped where nothing is installed to fake a clock with."""
    try:
        server = SteppedRedis(tmp_path_factory.mktemp("stepped"), ends_with_parent=True)
    except NoSteppedRedis as missing:
        pytest.skip(str(missing))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def stepped(stepped_server: SteppedRedis) -> Iterator[SteppedRedis]:
    """The same, empty and with a right clock."""
    stepped_server.set_clock(0)
    with redis.Redis.from_url(stepped_server.url) as client:
        client.flushall()
    return stepped_server


@pytest.fixture
def client(stepped: SteppedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stepped.url) as client:
        yield client


@pytest.fixture
def broker(stepped: SteppedRedis, make_broker: Callable[..., JobBroker]) -> JobBroker:
    broker = make_broker(url=stepped.url, lease_ms=LEASE_MS)
    dramatiq.set_broker(broker)
    return broker


@pytest.fixture
def ran(broker: JobBroker) -> dict[str, float]:
    """When each job ran, by name."""
    ran: dict[str, float] = {}

    def note(name: str) -> None:
        assert name not in ran
        ran[name] = time.monotonic()

    dramatiq.actor(note, actor_name="note", max_retries=0)
    return ran


def add(broker: JobBroker, name: str, *, delay_seconds: float = 0) -> float:
    """Add a job; return when it is to run."""
    broker.get_actor("note").send_with_options(args=(name,), delay=int(delay_seconds * 1000) or None)
    return time.monotonic() + delay_seconds


def offset_ms(broker: JobBroker) -> float:
    return broker.view("default").counts().clock_offset_ms


def has_clock(stepped: SteppedRedis) -> bool:
    """Return whether a worker has looked at Redis' clock; it is listed a little earlier, by its first start."""
    with redis.Redis.from_url(stepped.url) as client:
        return is_readable(client.hget(WORKERS, "tick") or b"")


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_and_its_end_start_nothing_early_and_leave_nothing_behind(
    broker: JobBroker,
    stepped: SteppedRedis,
    ran: dict[str, float],
    wait_until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    step: int,
) -> None:
    add(broker, "far before", delay_seconds=1800)
    with running(broker):
        wait_until(lambda: has_clock(stepped))
        due = {"before": add(broker, "before", delay_seconds=2)}
        stepped.set_clock(step)
        for number in range(4):
            due[f"at once {number}"] = add(broker, f"at once {number}")
            due[f"during {number}"] = add(broker, f"during {number}", delay_seconds=1.5)
        wait_until(lambda: abs(offset_ms(broker)) > 3_000_000, what="the step to be seen")
        due["seen"] = add(broker, "seen", delay_seconds=1.5)
        add(broker, "far during", delay_seconds=1800)
        stepped.set_clock(0)
        due["after"] = add(broker, "after", delay_seconds=1.5)
        wait_until(lambda: due.keys() <= ran.keys(), what="all that is due to run")
        wait_until(lambda: abs(offset_ms(broker)) < 3_000, what="the end of the step to be seen")
    assert ran.keys() == due.keys()
    off = {name: ran[name] - due[name] for name in due}
    assert min(off.values()) > -1.5, off
    assert max(off.values()) < 4, off
    assert broker.view("default").counts().delayed == 2
    assert f"Redis' clock stepped by {step:+d} s" in caplog.text
    tally = broker.view("default").facts().tally(5)
    assert (tally.completed, tally.run.total_ms < 60_000, tally.wait.total_ms < 60_000) == (len(due), True, True)


def test_delayed_jobs_start_at_once_when_nobody_lived_while_their_time_came(
    broker: JobBroker, stepped: SteppedRedis, ran: dict[str, float], wait_until: Callable[..., None]
) -> None:
    with running(broker):
        wait_until(lambda: has_clock(stepped))
    add(broker, "due overnight", delay_seconds=HOUR)
    stepped.set_clock(24 * HOUR)
    add(broker, "for later", delay_seconds=1800)
    with running(broker):
        wait_until(lambda: ran.keys() == {"due overnight"}, timeout_seconds=3)
    assert offset_ms(broker) == 0
    assert broker.view("default").counts().delayed == 1


def test_after_a_killed_worker_a_new_one_waits_only_a_lease_to_believe_a_long_night(
    broker: JobBroker, stepped: SteppedRedis, ran: dict[str, float], wait_until: Callable[..., None]
) -> None:
    beat(broker, OTHER)
    add(broker, "due overnight", delay_seconds=HOUR)
    stepped.set_clock(24 * HOUR)
    with running(broker):
        wait_until(lambda: ran.keys() == {"due overnight"}, timeout_seconds=5)
    assert offset_ms(broker) == 0


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_what_was_leased_at_a_wrong_time_is_recovered(
    broker: JobBroker, stepped: SteppedRedis, ran: dict[str, float], wait_until: Callable[..., None], step: int
) -> None:
    beat(broker, WORKER)
    stepped.set_clock(step)
    add(broker, "lost with its worker")
    reply = broker._links.run([Call("start", broker._base("default"), (WORKER, 1, 1, "w:1", 1, ""))])[0]
    assert len(reply) == 7
    stepped.set_clock(0)
    with running(broker):
        wait_until(lambda: "lost with its worker" in ran, timeout_seconds=6)


def test_a_step_deletes_nothing_before_its_time(
    broker: JobBroker,
    stepped: SteppedRedis,
    client: redis.Redis,
    ran: dict[str, float],
    wait_until: Callable[..., None],
) -> None:
    add(broker, "kept")
    view = broker.view("default")
    with running(broker):
        wait_until(lambda: view.counts().completed == 1)
        client.hset(META, "keep", struct.pack(">IdId", 100, 600_000.0, 100, 600_000.0))  # type: ignore[arg-type]
        stepped.set_clock(HOUR)
        wait_until(lambda: offset_ms(broker) > 3_000_000)
        # The next beats may trim again.
        tick = client.hget(WORKERS, "tick") or b""
        client.hset(WORKERS, "tick", tick[:8] + bytes(8) + tick[16:])
        wait_until(lambda: struct.unpack_from(">dd", client.hget(WORKERS, "tick"))[1])  # type: ignore[arg-type]
    assert view.counts().completed == 1


def beat(broker: JobBroker, worker: bytes, evidence: str = "") -> ClockReply:
    """Send a worker's beat with what it has seen of the clock."""
    arguments = (worker, f"{worker.decode()}:1", 0, LEASE_MS, evidence)
    reply = broker._links.run([Call("heartbeat", broker._base("default"), arguments)])[0]
    return ClockReply.read(reply[8])


def evidence(seen: ClockReply, passed_seconds: float, *, certain: bool = False) -> str:
    return f"{seen.version} {seen.raw_ms} {passed_seconds * 1000} {certain:d}"


def test_an_outage_that_the_workers_saw_pass_is_no_step(broker: JobBroker, stepped: SteppedRedis) -> None:
    """Redis was down for an hour, or the host slept: the workers' clocks say so too."""
    seen = beat(broker, WORKER)
    stepped.set_clock(HOUR)
    reply = beat(broker, WORKER, evidence(seen, HOUR))
    assert (reply.sure, reply.set_by_ms, offset_ms(broker)) == (True, 0, 0)


def test_a_late_call_is_no_step_and_a_certain_one_is(broker: JobBroker, stepped: SteppedRedis) -> None:
    seen = beat(broker, WORKER)
    stepped.set_clock(HOUR)
    doubt = beat(broker, WORKER, evidence(seen, 1))
    assert (doubt.sure, offset_ms(broker)) == (False, 0)
    right = beat(broker, WORKER, evidence(seen, 1, certain=True))
    assert right.set_by_ms == pytest.approx(HOUR * 1000, abs=5000)
    assert offset_ms(broker) == pytest.approx(HOUR * 1000, abs=5000)
    # Another worker saw the same step: it changes nothing more.
    assert beat(broker, OTHER, evidence(seen, 1, certain=True)).set_by_ms == 0


def test_a_worker_whose_clock_stood_still_is_overruled(broker: JobBroker, stepped: SteppedRedis) -> None:
    """A virtual machine was paused: to its clocks no time has passed. The other workers' have seen it pass."""
    seen = beat(broker, WORKER)
    other = beat(broker, OTHER)
    stepped.set_clock(HOUR)
    assert beat(broker, OTHER, evidence(other, HOUR)).sure
    reply = beat(broker, WORKER, evidence(seen, 1, certain=True))
    assert (reply.sure, reply.set_by_ms, offset_ms(broker)) == (True, 0, 0)


def test_a_newcomer_does_not_believe_a_step_before_those_who_saw_it_were_heard(
    broker: JobBroker, stepped: SteppedRedis
) -> None:
    seen = beat(broker, WORKER)
    stepped.set_clock(HOUR)
    new = beat(broker, OTHER)
    assert not new.sure
    assert not beat(broker, OTHER, evidence(new, 0.5)).sure
    assert beat(broker, WORKER, evidence(seen, 1, certain=True)).set_by_ms
    assert beat(broker, OTHER, evidence(new, 0.5)).sure
    assert offset_ms(broker) == pytest.approx(HOUR * 1000, abs=5000)


def test_a_step_that_lasts_is_taken_back_slowly(broker: JobBroker, stepped: SteppedRedis) -> None:
    seen = beat(broker, WORKER)
    stepped.set_clock(HOUR)
    beat(broker, WORKER, evidence(seen, 1, certain=True))
    seen = beat(broker, WORKER)
    before = offset_ms(broker)
    stepped.set_clock(2 * HOUR)
    assert beat(broker, WORKER, evidence(seen, HOUR)).sure
    assert before - offset_ms(broker) == pytest.approx(0.01 * HOUR * 1000, rel=0.1)


@pytest.mark.parametrize(
    "rubbish", [b"", b"x", b"\xff" * 29, b"\0" * 29, struct.pack(">ddIdB", float("nan"), 1, 1, 0, 0)]
)
def test_a_clock_that_cannot_be_read_is_begun_anew(
    broker: JobBroker, client: redis.Redis, ran: dict[str, float], wait_until: Callable[..., None], rubbish: bytes
) -> None:
    client.hset(WORKERS, "tick", b"\0" * 16 + rubbish)  # type: ignore[arg-type]
    add(broker, "at once")
    add(broker, "soon", delay_seconds=0.5)
    with running(broker):
        wait_until(lambda: ran.keys() == {"at once", "soon"})
    assert broker.view("default").facts().tally(5).completed == 2


def test_a_look_is_certain_only_when_no_delay_explains_it() -> None:
    sight = ClockReading()
    assert sight.evidence() == ""
    sight.update(ClockReply(1, 1_000.0, sure=True, set_by_ms=0), sent=10.0, received=10.1)
    # The second call took an hour, or the process was frozen: TIME may have moved as far.
    assert sight.update(ClockReply(1, 3_601_000.0, sure=False, set_by_ms=0), sent=14.0, received=3614.0)
    assert not sight.certain
    assert sight.update(ClockReply(1, 3_605_000.0, sure=False, set_by_ms=0), sent=14.0, received=14.1)
    assert sight.certain
    assert not sight.update(ClockReply(2, 3_606_000.0, sure=True, set_by_ms=3_600_000), sent=15.0, received=15.1)
    assert sight.evidence().startswith("2 3606000.000 ")
