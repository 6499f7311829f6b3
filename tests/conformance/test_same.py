"""Behaviour that applications of Dramatiq's Redis broker rely on; each test runs on both brokers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dramatiq
import pytest
import redis
from dramatiq import Message, group, pipeline
from dramatiq.encoder import JSONEncoder, PickleEncoder
from dramatiq.errors import ActorNotFound, QueueJoinTimeout
from dramatiq.middleware import CurrentMessage, SkipMessage
from dramatiq.rate_limits import Barrier, BucketRateLimiter, ConcurrentRateLimiter, RateLimitExceeded, WindowRateLimiter
from dramatiq.results import ResultFailure, ResultMissing, ResultTimeout

from nomad_actors.testing import running
from tests.conformance.conftest import System

TIMEOUT_MS = 20_000
ROOT = Path(__file__).resolve().parents[2]


def drain(broker: dramatiq.Broker, *queues: str) -> None:
    """Run a worker until the queues are empty."""
    with running(broker):
        for name in queues or ("default",):
            broker.join(name, timeout=TIMEOUT_MS)


def test_arguments_arrive_as_they_were_sent(broker: dramatiq.Broker) -> None:
    seen: list[object] = []

    @dramatiq.actor
    def job(*args: object, **kwargs: object) -> None:
        seen.append((args, kwargs))

    job.send(1, "zwölf", [None, 2.5], nested={"a": [1]}, big="x" * 200_000)
    drain(broker)
    assert seen == [((1, "zwölf", [None, 2.5]), {"nested": {"a": [1]}, "big": "x" * 200_000})]


def test_async_actors_run_and_await(broker: dramatiq.Broker) -> None:
    seen: list[int] = []

    @dramatiq.actor
    async def job(number: int) -> None:
        await asyncio.sleep(0.01)
        seen.append(number)

    for number in range(5):
        job.send(number)
    drain(broker)
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_a_failed_job_is_retried_up_to_its_limit_then_calls_on_retry_exhausted(broker: dramatiq.Broker) -> None:
    runs: list[object] = []
    calls: list[object] = []

    @dramatiq.actor
    def exhausted(message: object, retries: object) -> None:
        calls.append(retries)

    @dramatiq.actor(max_retries=2, min_backoff=1, max_backoff=5, on_retry_exhausted="exhausted")
    def job() -> None:
        message = CurrentMessage.get_current_message()
        assert message is not None
        runs.append(message.options.get("retries", 0))
        raise ValueError("no")

    job.send()
    drain(broker)
    drain(broker)
    assert runs == [0, 1, 2]
    assert calls == [{"retries": 2, "max_retries": 2}]


def test_an_exception_among_throws_is_not_retried(broker: dramatiq.Broker) -> None:
    runs: list[int] = []

    @dramatiq.actor(throws=KeyError, min_backoff=1)
    def job() -> None:
        runs.append(1)
        raise KeyError("expected")

    job.send()
    drain(broker)
    assert runs == [1]


def test_retry_when_decides(broker: dramatiq.Broker) -> None:
    runs: list[int] = []

    @dramatiq.actor(retry_when=lambda retries, _: retries < 1, min_backoff=1)
    def job() -> None:
        runs.append(1)
        raise ValueError("no")

    job.send()
    drain(broker)
    assert len(runs) == 2


def test_a_job_that_raises_retry_chooses_its_delay(broker: dramatiq.Broker) -> None:
    began: list[float] = []

    @dramatiq.actor(max_retries=1)
    def job() -> None:
        began.append(time.monotonic())
        if len(began) == 1:
            raise dramatiq.Retry("later", delay=300)

    job.send()
    drain(broker)
    assert began[1] - began[0] >= 0.3


def test_a_delayed_job_waits(broker: dramatiq.Broker) -> None:
    began: list[float] = []
    job = dramatiq.actor(lambda: began.append(time.monotonic()), actor_name="job")
    sent = time.monotonic()
    job.send_with_options(delay=400)
    drain(broker)
    assert began[0] - sent >= 0.4


def test_a_pipeline_passes_results_on_over_queues(broker: dramatiq.Broker) -> None:
    add = dramatiq.actor(lambda a, b: a + b, actor_name="add", queue_name="first", store_results=True)
    double = dramatiq.actor(lambda number: 2 * number, actor_name="double", queue_name="second", store_results=True)
    steps = pipeline([add.message(1, 2), double.message(), add.message(10)])
    with running(broker):
        steps.run()
        assert steps.get_result(block=True, timeout=TIMEOUT_MS) == 16
        assert list(steps.get_results()) == [3, 6, 16]
        assert steps.completed


def test_a_pipeline_step_may_ignore_the_previous_result(broker: dramatiq.Broker) -> None:
    seen: list[tuple[object, ...]] = []
    first = dramatiq.actor(lambda: 1, actor_name="first")
    second = dramatiq.actor(lambda *args: seen.append(args), actor_name="second")
    (first.message() | second.message_with_options(args=(7,), pipe_ignore=True)).run()
    drain(broker)
    assert seen == [(7,)]


def test_a_pipeline_may_be_delayed(broker: dramatiq.Broker) -> None:
    began: list[float] = []
    job = dramatiq.actor(lambda *_: began.append(time.monotonic()), actor_name="job")
    sent = time.monotonic()
    pipeline([job.message(), job.message()]).run(delay=300)
    with running(broker):
        while len(began) < 2:
            assert time.monotonic() < sent + 20
            time.sleep(0.01)
    assert began[0] - sent >= 0.3


def test_a_group_collects_results(broker: dramatiq.Broker) -> None:
    square = dramatiq.actor(lambda number: number * number, actor_name="square", store_results=True)
    jobs = group(square.message(number) for number in range(10))
    with running(broker):
        jobs.run()
        assert list(jobs.get_results(block=True, timeout=TIMEOUT_MS)) == [n * n for n in range(10)]
        assert jobs.completed
        assert jobs.completed_count == 10


def test_a_group_calls_back_once_when_all_have_ended(broker: dramatiq.Broker) -> None:
    called, done = [], threading.Event()

    @dramatiq.actor
    def through() -> None:
        called.append(1)
        done.set()

    job = dramatiq.actor(lambda _: None, actor_name="job")
    jobs = group(job.message(number) for number in range(8))
    jobs.add_completion_callback(through.message())
    with running(broker):
        jobs.run()
        assert done.wait(20)
        broker.join("default", timeout=TIMEOUT_MS)
    assert called == [1]


def test_a_group_of_pipelines(broker: dramatiq.Broker) -> None:
    add = dramatiq.actor(lambda a, b: a + b, actor_name="add", store_results=True)
    jobs = group(add.message(n, 1) | add.message(100) for n in range(3))
    with running(broker):
        jobs.run()
        assert list(jobs.get_results(block=True, timeout=TIMEOUT_MS)) == [101, 102, 103]


def test_callbacks_are_called_for_success_and_failure(broker: dramatiq.Broker) -> None:
    calls: list[tuple[str, object]] = []

    @dramatiq.actor
    def succeeded(message: dict[str, object], result: object) -> None:
        calls.append(("success", result))

    @dramatiq.actor
    def failed(message: dict[str, object], error: dict[str, object]) -> None:
        calls.append(("failure", error["type"]))

    good = dramatiq.actor(lambda: 42, actor_name="good")
    bad = dramatiq.actor(lambda: 1 / 0, actor_name="bad", max_retries=0)
    good.send_with_options(on_success=succeeded, on_failure=failed)
    bad.send_with_options(on_success=succeeded, on_failure=failed)
    drain(broker)
    drain(broker)
    assert sorted(calls) == [("failure", "ZeroDivisionError"), ("success", 42)]


def test_results_can_be_waited_for_and_missing_ones_raise(broker: dramatiq.Broker) -> None:
    good = dramatiq.actor(lambda: {"answer": 42}, actor_name="good", store_results=True)
    bad = dramatiq.actor(lambda: 1 / 0, actor_name="bad", store_results=True, max_retries=0)
    waiting = good.send()
    with pytest.raises(ResultMissing):
        waiting.get_result()
    with pytest.raises(ResultTimeout):
        waiting.get_result(block=True, timeout=50)
    failing = bad.send()
    with running(broker):
        assert waiting.get_result(block=True, timeout=TIMEOUT_MS) == {"answer": 42}
        with pytest.raises(ResultFailure, match="division by zero") as caught:
            failing.get_result(block=True, timeout=TIMEOUT_MS)
    assert caught.value.orig_exc_type == "ZeroDivisionError"


def test_none_is_a_result(broker: dramatiq.Broker) -> None:
    job = dramatiq.actor(lambda: None, actor_name="job", store_results=True)
    message = job.send()
    with running(broker):
        assert message.get_result(block=True, timeout=TIMEOUT_MS) is None


def test_rate_limiters_and_barriers_work(system: System) -> None:
    once = ConcurrentRateLimiter(system.limiter, "once", limit=1)
    with once.acquire(), pytest.raises(RateLimitExceeded), once.acquire():
        pass
    for limiter in (
        WindowRateLimiter(system.limiter, "window", limit=1, window=60),
        BucketRateLimiter(system.limiter, "bucket", limit=1, bucket=60_000),
    ):
        with limiter.acquire():
            pass
        with pytest.raises(RateLimitExceeded), limiter.acquire():
            pass
    barrier = Barrier(system.limiter, "barrier", ttl=60_000)
    barrier.create(parties=2)
    assert [barrier.wait(block=False), barrier.wait(block=False)] == [False, True]


def test_a_job_that_meets_a_full_limiter_is_retried(system: System) -> None:
    limiter = ConcurrentRateLimiter(system.limiter, "jobs", limit=1)
    running_now, most, done = [0], [0], []

    @dramatiq.actor(min_backoff=5, max_backoff=50, max_retries=1_000)
    def job(number: int) -> None:
        with limiter.acquire():
            running_now[0] += 1
            most[0] = max(most[0], running_now[0])
            time.sleep(0.02)
            running_now[0] -= 1
            done.append(number)

    for number in range(4):
        job.send(number)
    drain(system.broker)
    assert sorted(done) == [0, 1, 2, 3]
    assert most == [1]


def test_join_waits_for_retries_and_delays_and_can_time_out(broker: dramatiq.Broker) -> None:
    seen: list[int] = []
    job = dramatiq.actor(lambda: seen.append(1), actor_name="job")
    job.send_with_options(delay=300)
    with pytest.raises(QueueJoinTimeout):
        broker.join("default", timeout=50)
    drain(broker)
    assert seen == [1]


def test_flush_drops_waiting_jobs(broker: dramatiq.Broker) -> None:
    seen: list[int] = []
    job = dramatiq.actor(lambda: seen.append(1), actor_name="job")
    job.send()
    job.send_with_options(delay=10)
    broker.flush("default")
    job.send()
    drain(broker)
    assert seen == [1]


def test_an_actor_may_enqueue_itself(broker: dramatiq.Broker) -> None:
    seen: list[int] = []

    @dramatiq.actor
    def countdown(number: int) -> None:
        seen.append(number)
        if number:
            countdown.send(number - 1)

    countdown.send(5)
    drain(broker)
    assert seen == [5, 4, 3, 2, 1, 0]


def test_signals_are_emitted_in_order(broker: dramatiq.Broker, signals: list[str]) -> None:
    job = dramatiq.actor(lambda: None, actor_name="job")
    job.send()
    drain(broker)
    assert signals == ["before_process_message", "after_process_message", "before_ack", "after_ack"]


def test_a_failed_job_is_nacked(broker: dramatiq.Broker, signals: list[str]) -> None:
    job = dramatiq.actor(lambda: 1 / 0, actor_name="job", max_retries=0)
    job.send()
    drain(broker)
    assert signals == ["before_process_message", "after_process_message", "before_nack", "after_nack"]


def test_middleware_may_skip_a_job(broker: dramatiq.Broker, signals: list[str]) -> None:
    ran: list[int] = []

    class Skip(dramatiq.Middleware):
        def before_process_message(self, broker: dramatiq.Broker, message: Message[object]) -> None:
            raise SkipMessage("not today")

    broker.add_middleware(Skip())
    job = dramatiq.actor(lambda: ran.append(1), actor_name="job")
    job.send()
    drain(broker)
    assert ran == []
    assert "after_skip_message" in signals
    assert signals[-2:] == ["before_ack", "after_ack"]


def test_middleware_may_change_a_message_before_it_is_enqueued(broker: dramatiq.Broker) -> None:
    seen: list[object] = []

    class Stamp(dramatiq.Middleware):
        def before_enqueue(self, broker: dramatiq.Broker, message: Message[object], delay: int) -> None:
            message.options["stamp"] = "stamped"

    broker.add_middleware(Stamp())

    @dramatiq.actor
    def job() -> None:
        message = CurrentMessage.get_current_message()
        assert message is not None
        seen.append(message.options["stamp"])

    job.send()
    drain(broker)
    assert seen == ["stamped"]


def test_a_message_that_is_too_old_is_skipped(broker: dramatiq.Broker) -> None:
    ran: list[int] = []
    job = dramatiq.actor(lambda: ran.append(1), actor_name="job", max_age=50)
    job.send()
    time.sleep(0.1)
    drain(broker)
    assert ran == []


def test_a_job_that_takes_too_long_is_interrupted(broker: dramatiq.Broker) -> None:
    caught: list[str] = []

    @dramatiq.actor(time_limit=200, max_retries=0)
    def job() -> None:
        try:
            for _ in range(2_000):
                time.sleep(0.005)
        except dramatiq.middleware.TimeLimitExceeded:
            caught.append("interrupted")
            raise

    job.send()
    broker.emit_after("process_boot")
    try:
        drain(broker)
    finally:
        broker.emit_before("process_stop")
    assert caught == ["interrupted"]


def test_a_stopping_worker_returns_jobs_that_have_not_begun(broker: dramatiq.Broker) -> None:
    began, go, ran = threading.Event(), threading.Event(), []

    @dramatiq.actor
    def job(number: int) -> None:
        began.set()
        go.wait(10)
        ran.append(number)

    for number in range(6):
        job.send(number)
    threading.Timer(0.3, go.set).start()
    with running(broker, threads=1):
        assert began.wait(10)
    left = 6 - len(ran)
    assert left > 0
    drain(broker)
    assert sorted(ran) == [0, 1, 2, 3, 4, 5]


def test_a_worker_serves_only_its_queues(broker: dramatiq.Broker) -> None:
    ran: list[str] = []
    one = dramatiq.actor(lambda: ran.append("one"), actor_name="one", queue_name="one")
    two = dramatiq.actor(lambda: ran.append("two"), actor_name="two", queue_name="two")
    one.send()
    two.send()
    with running(broker, queues={"two"}):
        broker.join("two", timeout=TIMEOUT_MS)
    assert ran == ["two"]
    drain(broker, "one")
    assert ran == ["two", "one"]


def test_a_paused_worker_starts_nothing_until_it_is_resumed(broker: dramatiq.Broker) -> None:
    ran: list[int] = []
    job = dramatiq.actor(ran.append, actor_name="job")
    with running(broker) as worker:
        worker.pause()
        job.send(1)
        time.sleep(0.3)
        assert ran == []
        worker.resume()
        broker.join("default", timeout=TIMEOUT_MS)
    assert ran == [1]


def test_another_encoder_is_used(broker: dramatiq.Broker) -> None:
    seen: list[object] = []
    dramatiq.set_encoder(PickleEncoder())
    try:
        job = dramatiq.actor(seen.append, actor_name="job")
        job.send({1, 2})
        drain(broker)
    finally:
        dramatiq.set_encoder(JSONEncoder())
    assert seen == [{1, 2}]


def test_names_are_kept(broker: dramatiq.Broker) -> None:
    @dramatiq.actor(queue_name="letters", priority=7)
    def job() -> None: ...

    assert broker.get_declared_queues() >= {"letters"}
    assert broker.get_declared_actors() == {"job"}
    assert broker.get_actor("job") is job
    assert job.message().queue_name == "letters"
    with pytest.raises(ActorNotFound):
        broker.get_actor("nobody")


APPLICATION = """
import os
from tests.conformance.conftest import make_system

system = make_system(os.environ["SYSTEM"], os.environ["REDIS_URL"])
broker = system.broker

import dramatiq

@dramatiq.actor
def report(number):
    system.limiter.client.rpush("reports", f"{os.getpid()} {number}")
"""


@pytest.fixture
def application(system: System, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """An application in a file; returns its environment."""
    (tmp_path / "application.py").write_text(APPLICATION, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    return {**os.environ, "SYSTEM": system.name, "REDIS_URL": redis_url, "PYTHONPATH": path}


def test_the_command_line_runs_several_processes_and_stops(
    broker: dramatiq.Broker,
    application: dict[str, str],
    tmp_path: Path,
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
) -> None:
    report = dramatiq.actor(lambda number: None, actor_name="report")
    with command_line(tmp_path, application, "--processes", "2", "--threads", "2") as process:
        number = 0

        def both_have_reported() -> bool:
            nonlocal number
            number += 1
            report.send(number)
            return len({line.split()[0] for line in redis_client.lrange("reports", 0, -1)}) == 2

        wait_until(both_have_reported, timeout_seconds=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_the_command_line_reloads_when_a_file_changes(
    broker: dramatiq.Broker,
    application: dict[str, str],
    tmp_path: Path,
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
) -> None:
    report = dramatiq.actor(lambda number: None, actor_name="report")
    with command_line(tmp_path, application, "--processes", "1", "--watch", str(tmp_path)):
        report.send(1)
        wait_until(lambda: redis_client.lrange("reports", 0, -1), timeout_seconds=20)
        changed = (tmp_path / "application.py").read_text(encoding="utf-8").replace("{number}", "changed")
        last_mono = 0.0

        def reported_after_reload() -> bool:
            nonlocal last_mono
            if time.monotonic() - last_mono > 5:
                # Write again after a while: workers run before Dramatiq watches. Write only one event at a time:
                # Dramatiq does not survive another one while it reloads.
                last_mono = time.monotonic()
                (elsewhere := tmp_path.parent / f"{tmp_path.name}.py").write_text(changed, encoding="utf-8")
                elsewhere.replace(tmp_path / "application.py")
            report.send(2)
            return any(b"changed" in line for line in redis_client.lrange("reports", 0, -1))

        wait_until(reported_after_reload, timeout_seconds=40)


@contextmanager
def command_line(directory: Path, environ: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Dramatiq's command line inside a `with` block; its workers end with it."""
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("dramatiq")), "application:broker", *arguments],
        cwd=directory,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
