"""The ways a run may end, whatever Dramatiq's Retries, Callbacks and time limits think of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import dramatiq
import pytest
from dramatiq.middleware import SkipMessage

from nomad_actors.broker import Defer, JobBroker, PermanentError, State
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.endings import Ended, Outcome
from nomad_actors.broker.records.stored_job import StoredJob
from nomad_actors.testing import running


@pytest.fixture
def view(broker: JobBroker) -> QueueView:
    return broker.view("default")


def stored(view: QueueView, message: dramatiq.Message[object]) -> StoredJob:
    found = view.get(message.message_id)
    assert found is not None
    assert found.record is not None
    return found


def attempts(job: StoredJob) -> int:
    assert job.record is not None
    return job.record.header.attempts


def test_a_deferred_job_comes_back_with_its_only_attempt_unspent(
    broker: JobBroker, view: QueueView, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    runs: list[float] = []
    called: list[str] = []
    dramatiq.actor(lambda *_: called.append("failure"), actor_name="on failure")

    @dramatiq.actor(max_retries=0)
    def job() -> None:
        runs.append(time.monotonic())
        if len(runs) < 3:
            raise Defer(0.1, "the server has had enough of us")

    message = job.send_with_options(on_failure="on failure")
    with running(broker):
        wait_until(lambda: len(runs) == 3)
        broker.join("default", timeout=5000)
    ended_job = stored(view, message)
    assert [e.outcome for e in endings] == [Outcome.DEFERRED, Outcome.DEFERRED, Outcome.COMPLETED]
    assert [e.attempt for e in endings] == [1, 1, 1]
    assert attempts(ended_job) == 1
    assert runs[1] - runs[0] >= 0.1
    assert called == []
    deferred = [event for event in ended_job.timeline() if event["event"] == "deferred"]
    assert [event["reason"] for event in deferred] == ["the server has had enough of us"] * 2


def test_a_deferral_into_nowhere_is_refused() -> None:
    for seconds in (-1, float("nan"), 1e12):
        with pytest.raises(ValueError, match="allowed: 0 to"):
            Defer(seconds)


def test_a_permanent_error_fails_at_once_in_any_actor(
    broker: JobBroker, view: QueueView, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    @dramatiq.actor(max_retries=5, min_backoff=1)
    def job() -> None:
        raise PermanentError("no such character")

    message = job.send()
    with running(broker):
        wait_until(lambda: endings)
    ended_job = stored(view, message)
    assert (ended_job.state, attempts(ended_job)) == (State.FAILED, 1)
    assert ended_job.timeline()[-1]["reason"] == "PermanentError: no such character"


def test_a_job_that_skips_itself_completes_as_skipped(
    broker: JobBroker, view: QueueView, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    @dramatiq.actor
    def job() -> None:
        raise SkipMessage("nothing to do")

    message = job.send()
    with running(broker):
        wait_until(lambda: endings)
    ended_job = stored(view, message)
    assert (ended_job.state, ended_job.skipped) == (State.COMPLETED, True)
    assert endings[0].outcome is Outcome.SKIPPED


def test_a_job_that_is_too_old_fails_with_that_reason(
    broker: JobBroker, view: QueueView, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    @dramatiq.actor(max_age=1)
    def job() -> None:
        raise AssertionError("it must not run")

    message = job.message().copy(message_timestamp=1)
    broker.enqueue(message)
    with running(broker):
        wait_until(lambda: endings)
    ended_job = stored(view, message)
    assert ended_job.state is State.FAILED
    assert ended_job.timeline()[-1]["reason"] == "Message age limit exceeded"


def test_a_job_that_takes_too_long_is_interrupted_and_retried(
    broker: JobBroker, view: QueueView, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    @dramatiq.actor(max_retries=1, min_backoff=1, time_limit=100)
    def job() -> None:
        while True:
            time.sleep(0.01)

    message = job.send()
    (limit,) = [m for m in broker.middleware if isinstance(m, dramatiq.middleware.TimeLimit)]
    # Dramatiq starts the clock's thread in its command line's processes only.
    limit.after_process_boot(broker)
    with running(broker):
        wait_until(lambda: len(endings) == 2, timeout_seconds=10)
    assert [e.outcome for e in endings] == [Outcome.RETRIED, Outcome.FAILED]
    assert {ended.error for ended in endings} == {"TimeLimitExceeded: it ran longer than 0.1 s"}
    assert stored(view, message).timeline()[-1]["reason"] == "TimeLimitExceeded: it ran longer than 0.1 s"
    (failure_group,), _ = broker.finder("default").failure_groups(limit=10, cursor=None)
    assert failure_group.in_words() == "job: TimeLimitExceeded: it ran longer than <n> s (broker/test_endings.py:job)"


def test_no_job_waits_for_what_is_reported_of_one_that_ended(broker: JobBroker) -> None:
    started: list[int] = []
    second_began = threading.Event()
    went_on: list[bool] = []

    class Slow(dramatiq.Middleware):
        def report_settled(self, broker: dramatiq.Broker, endings: list[Ended]) -> None:
            went_on.append(second_began.wait(5))

    broker.add_middleware(Slow())

    @dramatiq.actor
    def job() -> None:
        started.append(1)
        if len(started) == 2:
            second_began.set()

    for _ in range(2):
        job.send()
    with running(broker, threads=1):
        broker.join("default", timeout=10_000)
    assert went_on == [True, True]


def test_an_end_is_reported_though_the_next_job_runs_on(broker: JobBroker, wait_until: Callable[..., None]) -> None:
    reported: list[Ended] = []
    resume = threading.Event()

    class Reports(dramatiq.Middleware):
        def report_settled(self, broker: dramatiq.Broker, endings: list[Ended]) -> None:
            reported.extend(endings)

    broker.add_middleware(Reports())

    @dramatiq.actor
    def job(number: int) -> None:
        assert number == 0 or resume.wait(10)

    for number in range(2):
        job.send(number)
    with running(broker, threads=1):
        # Long before the next beat, with which another round comes.
        wait_until(lambda: len(reported) == 1, timeout_seconds=2)
        resume.set()
        wait_until(lambda: len(reported) == 2)
    assert [each.outcome for each in reported] == [Outcome.COMPLETED] * 2


@pytest.mark.parametrize("how", ["error", "permanent", "defer"])
def test_text_that_cannot_be_encoded_keeps_no_job_from_ending(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None], how: str
) -> None:
    words = "caf\ud83d"

    @dramatiq.actor(max_retries=0)
    def job() -> None:
        raise {"error": RuntimeError(words), "permanent": PermanentError(words), "defer": Defer(600, words)}[how]

    message = job.send()
    with running(broker):
        wait_until(lambda: stored(view, message).state is (State.DELAYED if how == "defer" else State.FAILED))
    found = stored(view, message)
    assert "caf\\ud83d" in str(found.timeline()[-1]["reason"])
    assert view.cancel(message.message_id, words) in ("ok", "failed")
    assert view.get(words) is None
