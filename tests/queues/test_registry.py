"""Queues for callers and operators: errors name what is allowed, and ended jobs are explained."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dramatiq.middleware import TimeLimit

from nomad_actors import queues as queues_module
from nomad_actors.broker import JobBroker, PermanentError
from nomad_actors.clock import SystemClock
from nomad_actors.errors import (
    BadInput,
    BadPayload,
    JobNotFound,
    NomadError,
    Unavailable,
    UnknownJobType,
    UnknownQueue,
    UnknownState,
    WrongState,
)
from nomad_actors.middleware.order import middleware_for
from nomad_actors.queues import CallOptions, NewJob, Queues, current_job
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.queues.policy import Backoff, Priority
from nomad_actors.settings import Settings
from nomad_actors.testing import running


class Sum(Payload):
    character_id: int
    endpoint: str = "/wallet"
    mode: str = "add"


class Total(Result):
    total: int


seen: list[queues_module.CurrentJob] = []
gate = threading.Event()


def add_up(payload: Sum) -> Total:
    seen.append(current_job())
    if payload.mode == "fail":
        raise ValueError("on purpose")
    if payload.mode == "never":
        raise PermanentError("no use in trying")
    if payload.mode == "wait":
        gate.wait(10)
    return Total(total=payload.character_id + 1)


SUM = JobType(
    name="sum-up",
    queue="sums",
    payload=Sum,
    result=Total,
    run=add_up,
    priority=Priority.NORMAL,
    attempts=2,
    backoff=Backoff("fixed", 1),
    concurrency=2,
)


@pytest.fixture
def broker(redis_url: str) -> Iterator[JobBroker]:
    broker = JobBroker(url=redis_url, middleware=middleware_for(Settings(metrics_port=0)))
    yield broker
    broker.close()


@pytest.fixture
def queues(broker: JobBroker) -> Iterator[Queues]:
    seen.clear()
    gate.clear()
    queues = Queues(broker, settings=Settings(), clock=SystemClock())
    queues.register(SUM)
    queues_module.set_default(queues)
    yield queues
    queues_module.set_default(None)


def test_an_added_job_has_its_state(queues: Queues) -> None:
    added = queues.add_job("sums", "sum-up", {"character_id": 1})
    assert (added.queue, added.state, added.priority) == ("sums", "waiting", 3)
    later = queues.add_job("sums", "sum-up", {"character_id": 1}, delay=60_000, priority="critical")
    assert (later.state, later.priority) == ("delayed", 1)
    assert queues.get_queue("sums").counts() == {
        "waiting": 1,
        "active": 0,
        "delayed": 1,
        "completed": 0,
        "failed": 0,
        "paused": 0,
    }


def test_counts_have_a_readable_repr(queues: Queues) -> None:
    assert str(queues.get_queue("sums").counts()).startswith("{'waiting': 0, 'active': 0")


def test_a_job_runs_with_its_payload_and_its_result_is_stored(queues: Queues, broker: JobBroker) -> None:
    added = queues_module.add_job("sums", "sum-up", {"character_id": 41}, requested_by="tester")
    with running(broker):
        broker.join("sums", timeout=5000)
    job = queues_module.get_queue("sums").get(added.id)
    assert job is not None
    assert job.status == "completed"
    assert job.returnvalue == {"total": 42}
    assert job.requested_by == "tester"
    assert job.processed_on_ms is not None
    assert job.finished_on_ms is not None
    assert job.timestamp_ms <= job.processed_on_ms <= job.finished_on_ms
    (current,) = seen
    assert (current.id, current.queue, current.name, current.attempt) == (added.id, "sums", "sum-up", 1)
    assert current.data == {"character_id": 41}


def test_the_json_of_a_job_is_bullmqs(queues: Queues) -> None:
    added = queues.add_job("sums", "sum-up", {"character_id": 1}, attempts=5, backoff={"type": "fixed", "delay": 10})
    job = queues.get_queue("sums").get(added.id)
    assert job is not None
    shown = job.as_json()
    assert shown["opts"] == {
        "priority": 3,
        "attempts": 5,
        "backoff": {"type": "fixed", "delay": 10},
        "delay": 0,
    }
    assert set(shown) == {
        *("id", "name", "queueName", "data", "opts", "status", "progress", "attemptsMade", "failedReason"),
        *("stacktrace", "returnvalue", "timestamp", "processedOn", "finishedOn", "timeline", "crashes", "requestedBy"),
        *("progressDetail", "outcome", "cancelAsked", "worker", "waitMs", "runMs", "log", "logLinesLeftOut"),
    }


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("sumz", "sum-up", {}), {}, UnknownQueue, "unknown queue 'sumz'; did you mean 'sums'"),
        (("sums", "sum-down", {}), {}, UnknownJobType, "unknown job type 'sum-down'.*sum-up"),
        (("sums", "sum-up", {}), {}, BadPayload, "character_id: Field required"),
        (("sums", "sum-up", {"character_id": "x"}), {}, BadPayload, "character_id: .*integer.*got 'x'"),
        (("sums", "sum-up", {"character_id": 1, "typo": 2}), {}, BadPayload, "typo: Extra inputs.*allowed: char"),
        (("sums", "sum-up", [1]), {}, BadPayload, "payload: "),
        (("sums", "sum-up", {"character_id": 1}), {"priority": 6}, BadInput, r"unknown priority 6.*CRITICAL \(1\)"),
        (("sums", "sum-up", {"character_id": 1}), {"priority": True}, BadInput, "unknown priority"),
        (("sums", "sum-up", {"character_id": 1}), {"attempts": 0}, BadInput, "attempts 0.*1 to 1000"),
        (("sums", "sum-up", {"character_id": 1}), {"delay": -1}, BadInput, "delay -1"),
        (("sums", "sum-up", {"character_id": 1}), {"delay": 1.5}, BadInput, "delay 1.5"),
        (("sums", "sum-up", {"character_id": 1}), {"backoff": {"type": "linear", "delay": 1}}, BadInput, "backoff"),
        (("sums", "sum-up", {"character_id": 1}), {"job_id": ""}, BadInput, "job id"),
        (("sums", "sum-up", {"character_id": 1}), {"job_id": "schedule:x:1"}, BadInput, "do not begin with"),
    ],
)
def test_a_job_that_cannot_run_is_refused_and_nothing_is_enqueued(
    queues: Queues,
    arguments: tuple[str, str, object],
    options: dict[str, object],
    error: type[BadInput],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        queues.add_job(*arguments, **options)  # type: ignore[arg-type]
    assert sum(queues.get_queue("sums").counts().values()) == 0


class Stubborn(str):
    """Like a lazy object of some libraries: every access fails."""

    def _fail(self, *_: Any) -> Any:
        raise TypeError("not here")

    __hash__ = __eq__ = __len__ = __bool__ = __repr__ = __str__ = isprintable = upper = _fail  # type: ignore[assignment]


class Unknowable:
    """Even its class cannot be read."""

    __class__ = property(lambda _: 1 // 0)  # type: ignore[assignment]


@pytest.mark.parametrize("make", [list, dict, lambda: Stubborn("x"), Unknowable, lambda: "x" * 100_000])
@pytest.mark.parametrize(
    "name", ["queue", "job_type", "data", *(name for name in CallOptions.__annotations__ if name != "requested_by")]
)
def test_add_job_refuses_any_value_without_another_error(queues: Queues, name: str, make: Callable[[], Any]) -> None:
    call = {"queue": "sums", "job_type": "sum-up", "data": {"character_id": 1}, name: make()}
    with pytest.raises(BadInput) as refused:
        queues.add_job(**call)
    assert 0 < len(str(refused.value)) < 2_000


@pytest.mark.parametrize("name", [[], {}, 5, "x" * 100_000], ids=lambda each: type(each).__name__)
def test_a_lookup_refuses_any_name_without_another_error(queues: Queues, name: Any) -> None:
    for look_up, refusal in ((queues.get_queue, UnknownQueue), (queues.job_type, UnknownJobType)):
        with pytest.raises(refusal) as refused:
            look_up(name)
        assert len(str(refused.value)) < 2_000


def test_one_refused_job_refuses_the_whole_call(queues: Queues) -> None:
    good = NewJob(queue="sums", job_type="sum-up", data={"character_id": 1})
    bad = NewJob(queue="sums", job_type="sum-up", data={})
    with pytest.raises(BadPayload):
        queues.add_jobs([good, bad])
    assert sum(queues.get_queue("sums").counts().values()) == 0


def test_many_jobs_are_added_in_one_call_and_in_order(queues: Queues) -> None:
    added = queues.add_jobs([NewJob(queue="sums", job_type="sum-up", data={"character_id": i}) for i in range(600)])
    listed = queues.get_queue("sums").jobs("waiting", 0, 599)
    assert [job.id for job in listed] == [job.id for job in added]


def test_a_job_is_retried_by_its_job_types_policy_and_explains_each_attempt(queues: Queues, broker: JobBroker) -> None:
    added = queues.add_job("sums", "sum-up", {"character_id": 1, "mode": "fail"})
    with running(broker):
        broker.join("sums", timeout=5000)
    job = queues.get_queue("sums").get(added.id)
    assert job is not None
    assert (job.status, job.opts.attempts, job.attempts_made) == ("failed", 2, 2)
    assert job.failed_reason == "ValueError: on purpose"
    assert len(job.stacktrace) == 2
    assert "in add_up" in job.stacktrace[0]


def test_a_permanent_error_is_not_retried(queues: Queues, broker: JobBroker) -> None:
    added = queues.add_job("sums", "sum-up", {"character_id": 1, "mode": "never"})
    with running(broker):
        broker.join("sums", timeout=5000)
    job = queues.get_queue("sums").get(added.id)
    assert job is not None
    assert (job.status, job.attempts_made) == ("failed", 1)
    assert job.failed_reason == "PermanentError: no use in trying"


def test_a_payload_of_another_release_runs_or_fails_with_an_explanation(queues: Queues, broker: JobBroker) -> None:
    actor = broker.get_actor("sum-up")
    newer = actor.send(character_id=1, unheard_of=True)
    broken = actor.send(endpoint="/x")
    with running(broker):
        broker.join("sums", timeout=5000)
    queue = queues.get_queue("sums")
    ran, failed = queue.get(newer.message_id), queue.get(broken.message_id)
    assert ran is not None
    assert failed is not None
    assert ran.status == "completed"
    assert (failed.status, failed.attempts_made) == ("failed", 1)
    assert "character_id: Field required" in str(failed.failed_reason)


def test_a_retried_job_runs_with_all_its_attempts(queues: Queues, broker: JobBroker) -> None:
    added = queues.add_job("sums", "sum-up", {"character_id": 1, "mode": "fail"})
    queue = queues.get_queue("sums")
    with running(broker):
        broker.join("sums", timeout=5000)
        queue.retry(added.id)
        broker.join("sums", timeout=5000)
    job = queue.get(added.id)
    assert job is not None
    assert (job.status, job.attempts_made, len(job.stacktrace)) == ("failed", 2, 2)
    assert len(seen) == 4


def test_an_action_on_a_job_in_the_wrong_state_names_the_right_state(
    queues: Queues, broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    queue = queues.get_queue("sums")
    with pytest.raises(JobNotFound, match="has no job 'nobody'"):
        queue.retry("nobody")
    with pytest.raises(JobNotFound):
        queue.remove("nobody")
    added = queues.add_job("sums", "sum-up", {"character_id": 1, "mode": "wait"})
    with pytest.raises(WrongState, match="is waiting; only a job that is failed or completed"):
        queue.retry(added.id)
    with running(broker):
        wait_until(lambda: queue.counts()["active"] == 1)
        with pytest.raises(WrongState, match="is active"):
            queue.remove(added.id)
        (active,) = queue.jobs("active")
        assert active.id == added.id
        assert queue.snapshot().longest_active_ms is not None
        gate.set()
        broker.join("sums", timeout=5000)
    queue.remove(added.id)
    assert queue.get(added.id) is None


def test_a_paused_queues_waiting_jobs_are_called_paused(queues: Queues) -> None:
    queue = queues.get_queue("sums")
    added = queues.add_job("sums", "sum-up", {"character_id": 1})
    queue.pause()
    assert queue.snapshot().is_paused
    assert (queue.counts()["waiting"], queue.counts()["paused"]) == (0, 1)
    assert queue.jobs("waiting") == []
    (job,) = queue.jobs("paused")
    assert (job.id, job.status) == (added.id, "paused")
    assert queue.clean(0, "waiting") == []
    queue.resume()
    assert [j.status for j in queue.jobs("waiting")] == ["waiting"]


def test_several_states_are_listed_one_after_another_and_paged(queues: Queues) -> None:
    waiting = [queues.add_job("sums", "sum-up", {"character_id": i}).id for i in range(3)]
    delayed = [queues.add_job("sums", "sum-up", {"character_id": i}, delay=60_000 + i).id for i in range(3)]
    queue = queues.get_queue("sums")
    everything = waiting + delayed
    both = ["waiting", "delayed"]
    assert [j.id for j in queue.jobs(both)] == everything
    assert [j.id for j in queue.jobs(both, 0, 1)] == everything[:2]
    assert [j.id for j in queue.jobs(both, 2, 4)] == everything[2:5]
    assert [j.id for j in queue.jobs(both, 4, 10)] == everything[4:]
    assert queue.jobs(both, 6, 10) == []


@pytest.mark.parametrize("status", ["done", "", "WAITING"])
def test_unknown_states_are_refused_with_those_that_exist(queues: Queues, status: str) -> None:
    with pytest.raises(UnknownState, match="allowed: active, completed, delayed, failed, paused, waiting"):
        queues.get_queue("sums").jobs(status)
    with pytest.raises(UnknownState):
        queues.get_queue("sums").clean(0, status)


def test_an_active_job_cannot_be_cleaned(queues: Queues) -> None:
    with pytest.raises(UnknownState, match="active"):
        queues.get_queue("sums").clean(0, "active")


def test_clean_reports_what_it_removed(queues: Queues, broker: JobBroker) -> None:
    added = [queues.add_job("sums", "sum-up", {"character_id": i}).id for i in range(3)]
    with running(broker):
        broker.join("sums", timeout=5000)
    assert sorted(queues.get_queue("sums").clean(0, "completed", 10)) == sorted(added)


def test_stats_count_ended_jobs(queues: Queues, broker: JobBroker) -> None:
    for mode in ("add", "add", "never"):
        queues.add_job("sums", "sum-up", {"character_id": 1, "mode": mode})
    with running(broker):
        broker.join("sums", timeout=5000)
    stats = queues.get_queue("sums").snapshot().stats(3600)
    assert (stats.window_seconds, stats.completed, stats.failed) == (3600, 2, 1)
    with pytest.raises(BadInput, match="allowed: 60 to 86400"):
        queues.get_queue("sums").snapshot().stats(5)


def test_live_workers_are_listed_until_they_stop(
    queues: Queues, broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    queue = queues.get_queue("sums")
    assert queue.snapshot().workers == []
    with running(broker):
        wait_until(lambda: len(queue.snapshot().workers) == 1)
    assert queue.snapshot().workers == []


def test_an_error_reports_that_redis_is_down(redis_url: str) -> None:
    broker = JobBroker(url="redis://127.0.0.1:1/0", middleware=[])
    queues = Queues(broker, settings=Settings(), clock=SystemClock())
    queues.declare("sums")
    with pytest.raises(Unavailable, match="ConnectionError"):
        queues.get_queue("sums").counts()


def test_settings_decide_on_concurrency(broker: JobBroker) -> None:
    settings = Settings(concurrency=7, queue_concurrency={"sums": 9})
    queues = Queues(broker, settings=settings, clock=SystemClock())
    queues.register(SUM)
    queues.declare("plain")
    assert queues.get_queue("sums").concurrency == 9
    assert queues.get_queue("plain").concurrency == 7
    assert queues.total_concurrency() == 16


def test_a_name_is_registered_once(queues: Queues) -> None:
    with pytest.raises(BadInput, match="registered already"):
        queues.register(SUM)


def test_current_job_outside_a_job_is_an_error() -> None:
    with pytest.raises(NomadError, match="outside a job"):
        current_job()


def test_without_an_application_the_error_names_the_remedy() -> None:
    queues_module.set_default(None)
    with pytest.raises(NomadError, match=r"connect\(\)"):
        queues_module.get_queue("sums")


@pytest.mark.parametrize(("kind", "low", "high"), [("fixed", 1000, 1100), ("exponential", 4000, 8000)])
def test_a_backoff_waits_for_its_delay_with_jitter(kind: str, low: int, high: int) -> None:
    backoff = Backoff.parse({"type": kind, "delay": 1000})
    assert all(low <= backoff.delay_after(3) <= high for _ in range(100))


@pytest.mark.parametrize("option", [{"unique_until": "start"}, {"unique_until": 60}, {"unique_replace": True}])
def test_options_of_a_unique_key_are_refused_without_the_key(queues: Queues, option: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="with a unique_key"):
        queues.add_job("sums", "sum-up", {"character_id": 1}, **option)
    assert queues.get_queue("sums").counts()["waiting"] == 0


def test_a_job_that_took_too_long_names_its_time_limit(
    queues: Queues, broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    def run(payload: Sum) -> Total:
        while True:
            time.sleep(0.01)

    queues.register(dataclasses.replace(SUM, name="endless", queue="endless", run=run, attempts=2, time_limit_ms=200))
    (limit,) = [each for each in broker.middleware if isinstance(each, TimeLimit)]
    # Dramatiq starts the clock's thread only in the processes of its command line.
    limit.after_process_boot(broker)
    job_id = queues.add_job("endless", "endless", {"character_id": 1}, backoff={"type": "fixed", "delay": 60_000}).id
    queue = queues.get_queue("endless")
    with running(broker):
        for status in ("delayed", "failed"):
            wait_until(lambda status=status: (job := queue.get(job_id)) and job.status == status)
            found = queue.get(job_id)
            assert found is not None
            assert found.failed_reason == "TimeLimitExceeded: it ran longer than 0.2 s"
            if status == "delayed":
                queue.promote(job_id)
