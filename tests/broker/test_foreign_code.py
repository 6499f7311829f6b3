"""Whatever an application's code raises where it is called, its job ends with a reason, and the worker works on."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
from dramatiq.encoder import JSONEncoder

from nomad_actors.broker import Defer, JobBroker, PermanentError
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.endings import Ended
from nomad_actors.broker.results import JobResults
from nomad_actors.middleware.job_log import JobLog
from nomad_actors.middleware.metrics import Metrics
from nomad_actors.queues.as_job import as_job
from nomad_actors.testing import running
from tests.support.foreign_values import RAISED, cancelled_task, hostile_exceptions

raised_by_hooks = pytest.mark.parametrize("raised", RAISED, ids=lambda each: each.__name__)


@pytest.fixture
def view(broker: JobBroker) -> QueueView:
    return broker.view("default")


def reason_of(view: QueueView, message: dramatiq.Message[Any]) -> str:
    job = view.get(message.message_id)
    assert job is not None
    return job.reason() or ""


def attempts_of(view: QueueView, message: dramatiq.Message[Any]) -> int:
    job = view.get(message.message_id)
    assert job is not None
    assert job.record is not None
    return job.record.header.attempts


def test_a_job_gets_all_its_runs_whatever_its_error_is_like(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    made = {make.__name__: make for make in hostile_exceptions()}

    @dramatiq.actor(max_retries=2, min_backoff=1, max_backoff=2)
    def job(name: str) -> None:
        raise made[name]()

    with running(broker, threads=2) as worker:
        threads = list(worker.workers)
        messages = {name: job.send(name) for name in made}
        wait_until(lambda: view.counts().failed == len(made), timeout_seconds=20)
        assert worker.workers == threads
        assert all(thread.is_alive() for thread in threads)
    for name, message in messages.items():
        assert attempts_of(view, message) == 3, name
        stored = view.get(message.message_id)
        assert stored is not None
        assert type(made[name]()).__name__ in (stored.reason() or ""), name
        (last_error,) = stored.last_error()[:1] if stored.last_error() else ("",)
        assert last_error == type(made[name]()).__name__


def test_an_unprintable_error_in_throws_is_not_retried(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    class Mute(PermanentError):
        @property
        def __notes__(self) -> list[str]:
            sys.exit(1)

        @property
        def __traceback__(self) -> Any:
            sys.exit(1)

    @dramatiq.actor(max_retries=2, min_backoff=1)
    def job() -> None:
        raise Mute("for good")

    message = job.send()
    with running(broker, threads=1):
        wait_until(lambda: view.counts().failed == 1)
    assert attempts_of(view, message) == 1
    assert "Mute: for good" in reason_of(view, message)


@pytest.mark.parametrize(("kind", "attempts"), [(PermanentError, 1), (KeyError, 1), (Defer, 2), (ValueError, 2)])
def test_an_error_that_cannot_be_asked_for_its_class_ends_no_thread(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None], kind: type[Exception], attempts: int
) -> None:
    class Liar(kind):  # type: ignore[misc, valid-type]
        __class__ = property(lambda _: sys.exit(1))

    @dramatiq.actor(max_retries=1, min_backoff=1, throws=KeyError)
    def job() -> None:
        raise Liar(1, "later") if kind is Defer else Liar("why")

    message = job.send()
    with running(broker, threads=1) as worker:
        (thread,) = worker.workers
        wait_until(lambda: view.counts().failed == 1)
        assert worker.workers == [thread]
        assert thread.is_alive()
    assert attempts_of(view, message) == attempts
    assert "Liar" in reason_of(view, message)


@raised_by_hooks
def test_a_hook_that_raises_ends_no_thread_and_keeps_no_other_from_its_call(
    broker: JobBroker, view: QueueView, raised: Callable[[], BaseException], wait_until: Callable[..., None]
) -> None:
    outcomes: list[str] = []

    class Inner(dramatiq.Middleware):
        """Called before the other one."""

        def _raise(self, *_: Any, **__: Any) -> None:
            raise raised()

        after_process_message = after_settle = report_settled = _raise
        before_ack = after_ack = before_nack = after_nack = _raise
        after_worker_thread_boot = after_consumer_thread_boot = before_consumer_thread_shutdown = _raise

    class Outer(dramatiq.Middleware):
        def after_settle(self, broker: dramatiq.Broker, endings: list[Ended]) -> None:
            outcomes.extend(ended.outcome for ended in endings)

    broker.add_middleware(Outer(), before=dramatiq.middleware.AgeLimit)
    broker.add_middleware(Inner())

    @dramatiq.actor(max_retries=1, min_backoff=1)
    def job(fails: bool) -> None:
        if fails:
            raise ValueError

    for fails in (True, False):
        job.send(fails)
    with running(broker, threads=1) as worker:
        wait_until(lambda: (view.counts().failed, view.counts().completed) == (1, 1))
        wait_until(lambda: sorted(outcomes) == ["completed", "failed", "retried"])
        (session,) = broker._sessions._of.values()
        assert all(thread.is_alive() for thread in (*worker.workers, session._pump, session._waiter.thread))
        # Also its own words, said before it is gone.
        assert session.failure is None


@raised_by_hooks
def test_a_hook_that_raises_when_a_job_is_added_keeps_no_caller_from_it(
    broker: JobBroker, view: QueueView, raised: Callable[[], BaseException]
) -> None:
    class Inner(dramatiq.Middleware):
        def _raise(self, *_: Any) -> None:
            raise raised()

        before_enqueue = after_enqueue = _raise

    broker.add_middleware(Inner())
    job = dramatiq.actor(lambda: None, actor_name="job")
    job.send()
    broker.enqueue_many([(job.message(), 0)])
    assert view.counts().waiting == 2


@raised_by_hooks
def test_a_job_is_retried_even_if_retry_delay_fails(
    broker: JobBroker, view: QueueView, raised: Callable[[], BaseException], wait_until: Callable[..., None]
) -> None:
    def choose(*_: Any) -> int:
        raise raised()

    broker.retry_delay = choose

    @dramatiq.actor(max_retries=1, min_backoff=1)
    def job() -> None:
        raise ValueError

    message = job.send()
    with running(broker, threads=1):
        wait_until(lambda: view.counts().failed == 1)
    assert attempts_of(view, message) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@raised_by_hooks
def test_a_log_handler_that_raises_ends_no_thread_for_long(
    make_broker: Callable[..., JobBroker],
    raised: Callable[[], BaseException],
    wait_until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # As in use: Retries logs then, before it enqueues.
    caplog.set_level(logging.INFO)

    class Deadly(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.threadName != "MainThread":
                raise raised()

    broker = make_broker(lease_ms=400)
    view = broker.view("default")
    began: list[int] = []

    def job() -> None:
        began.append(1)
        raise ValueError("as it is logged, its thread ends")

    actor = dramatiq.actor(job, broker=broker, max_retries=2, min_backoff=1)
    handler = Deadly()
    logging.getLogger().addHandler(handler)
    try:
        message = actor.send()
        with running(broker, threads=1):
            wait_until(lambda: view.counts().failed == 1, timeout_seconds=10)
    finally:
        logging.getLogger().removeHandler(handler)
    assert len(began) == 3
    assert reason_of(view, message) == "ValueError: as it is logged, its thread ends"


@raised_by_hooks
def test_an_encoder_that_raises_fails_its_job_alone(
    broker: JobBroker, view: QueueView, raised: Callable[[], BaseException], wait_until: Callable[..., None]
) -> None:
    class Encoder(JSONEncoder):
        def decode(self, data: bytes) -> Any:
            decoded = super().decode(data)
            if decoded["args"] == ["bad"]:
                raise raised()
            return decoded

    ran: list[str] = []
    job = dramatiq.actor(ran.append, actor_name="job")
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(Encoder())
    try:
        bad, good = job.send("bad"), job.send("good")
        with running(broker, threads=1):
            wait_until(lambda: (view.counts().failed, view.counts().completed) == (1, 1))
        assert reason_of(view, bad).startswith("cannot be run: the body cannot be decoded")
    finally:
        dramatiq.set_encoder(before)
    assert ran == ["good"]
    assert good.message_id


@raised_by_hooks
def test_a_result_that_cannot_be_encoded_fails_its_job(
    broker: JobBroker, view: QueueView, raised: Callable[[], BaseException], wait_until: Callable[..., None]
) -> None:
    class Result(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            raise raised()

    broker.add_middleware(dramatiq.results.Results(backend=JobResults(broker)))
    message = dramatiq.actor(lambda: Result(a=1), actor_name="job", store_results=True, max_retries=0).send()
    with running(broker, threads=1):
        wait_until(lambda: view.counts().failed == 1)
    assert "its result cannot be encoded" in reason_of(view, message)


def test_a_run_is_reported_even_if_its_arguments_have_no_fields(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    class Hostile(dict):  # type: ignore[type-arg]
        def get(self, *_: Any) -> Any:
            sys.exit(1)

        __str__ = __repr__ = __iter__ = items = get  # type: ignore[assignment]

    class Encoder(JSONEncoder):
        def decode(self, data: bytes) -> Any:
            decoded = super().decode(data)
            decoded["args"] = [Hostile(character_id=1)]
            return decoded

    lines: list[str] = []
    broker.add_middleware(JobLog(log_format="json", log_level="info", write=lines.append))
    broker.add_middleware(Metrics(port=0))
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(Encoder())
    try:
        message = dramatiq.actor(lambda _: None, actor_name="job").send(1)
        with running(broker, threads=1):
            wait_until(lambda: view.counts().completed == 1)
            stored = view.get(message.message_id)
            assert stored is not None
            assert json.dumps(as_job(stored, queue="default", status="completed", job_type=None).as_json())
    finally:
        dramatiq.set_encoder(before)
    assert json.loads("".join(lines))["outcome"] == "completed"


def test_a_hook_that_takes_long_is_named_while_it_does(
    broker: JobBroker, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    resume = threading.Event()

    class Slow(dramatiq.Middleware):
        def after_settle(self, broker: dramatiq.Broker, endings: list[Ended]) -> None:
            resume.wait(20)

    broker.add_middleware(Slow())
    dramatiq.actor(lambda: None, actor_name="job").send()
    with running(broker, threads=1):
        wait_until(lambda: "after_settle of Slow has taken" in caplog.text, timeout_seconds=5)
        resume.set()
    assert caplog.text.count("after_settle of Slow has taken") == 1


def test_two_workers_of_a_broker_do_not_disturb_each_others_hooks(
    broker: JobBroker, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    first_waits, second_settled = threading.Event(), threading.Event()
    first_pump: list[threading.Thread] = []

    class Crossing(dramatiq.Middleware):
        def after_settle(self, broker: dramatiq.Broker, endings: list[Ended]) -> None:
            if not first_pump:
                first_pump.append(threading.current_thread())
                first_waits.set()
                second_settled.wait(10)

        def report_settled(self, broker: dramatiq.Broker, endings: list[Ended]) -> None:
            if threading.current_thread() not in first_pump:
                second_settled.set()

    broker.add_middleware(Crossing())
    job = dramatiq.actor(lambda: None, actor_name="job")
    view = broker.view("default")
    with running(broker, threads=1), running(broker, threads=1):
        job.send()
        assert first_waits.wait(5)
        # The first worker's pump stands in its hook: the second runs this one, and its hooks to their end.
        wait_until(lambda: job.send() and second_settled.is_set(), timeout_seconds=10)
        wait_until(lambda: view.counts().waiting == view.counts().active == 0)
    assert "failed in a round" not in caplog.text


def test_a_hook_that_calls_a_cancelled_future_ends_no_thread(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    """Raised by code in C, which has no instruction that raises."""

    class Cancelled(dramatiq.Middleware):
        def after_ack(self, broker: dramatiq.Broker, message: dramatiq.Message[Any]) -> None:
            cancelled_task()

    broker.add_middleware(Cancelled())
    job = dramatiq.actor(lambda: None, actor_name="job")
    with running(broker, threads=1) as worker:
        (thread,) = worker.workers
        for _ in range(2):
            job.send()
        wait_until(lambda: view.counts().completed == 2)
        assert worker.workers == [thread]
        assert thread.is_alive()
