"""Every transition of the state table, on a real Redis: the job is in exactly one state, counted exactly."""

from __future__ import annotations

from collections.abc import Callable

import dramatiq
import pytest
import redis
from dramatiq import Actor

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, State
from nomad_actors.broker.client.finder import Span
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.endings import Ended, Outcome
from nomad_actors.broker.records.tags import term
from nomad_actors.broker.states import TRANSITIONS
from nomad_actors.testing import running
from tests.broker.conftest import RARE_BEATS


@pytest.fixture
def view(broker: JobBroker) -> QueueView:
    return broker.view("default")


@pytest.fixture
def add(broker: JobBroker) -> Actor[..., object]:
    @dramatiq.actor(actor_name="add", max_retries=0, priority=3)
    def add(number: int = 0) -> None:
        if number < 0:
            raise ValueError("negative")

    return add


def state_of(view: QueueView, job_id: str) -> str | None:
    job = view.get(job_id)
    return job.state.value if job else None


def test_the_table_names_scripts_that_exist() -> None:
    from nomad_actors.broker.scripts import scripts

    assert {row.script for row in TRANSITIONS} <= set(scripts())


def test_a_job_waits_runs_and_completes(
    broker: JobBroker, view: QueueView, add: Actor[..., object], redis_client: redis.Redis
) -> None:
    job = add.send(1)
    assert state_of(view, job.message_id) == "waiting"
    check_queue(redis_client)
    with running(broker):
        broker.join("default", timeout=5000)
    assert state_of(view, job.message_id) == "completed"
    check_queue(redis_client)
    stored = view.get(job.message_id)
    assert stored is not None
    assert [event["event"] for event in stored.timeline()] == ["enqueued", "started", "completed"]


@RARE_BEATS
def test_a_delayed_job_starts_when_due_and_not_before(
    broker: JobBroker, view: QueueView, add: Actor[..., object], endings: list[Ended]
) -> None:
    job = add.send_with_options(args=(1,), delay=200)
    assert state_of(view, job.message_id) == "delayed"
    with running(broker):
        broker.join("default", timeout=5000)
    (ended,) = endings
    assert 0 <= ended.wait_ms < 2_000
    assert ended.started_ms - job.message_timestamp >= 199


@RARE_BEATS
def test_a_nearer_delayed_job_is_not_held_up_by_a_farther_one(
    broker: JobBroker, view: QueueView, add: Actor[..., object], wait_until: Callable[..., None]
) -> None:
    with running(broker):
        add.send_with_options(args=(1,), delay=60_000)
        near = add.send_with_options(args=(2,), delay=150)
        wait_until(lambda: state_of(view, near.message_id) == "completed", timeout_seconds=10)
    assert view.counts().delayed == 1


def test_a_failed_run_is_retried_with_its_attempt_spent(
    broker: JobBroker, view: QueueView, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    @dramatiq.actor(max_retries=1, min_backoff=1)
    def fails() -> None:
        raise ValueError("why")

    job = fails.send()
    with running(broker):
        broker.join("default", timeout=5000)
        wait_until(lambda: len(endings) == 2)
    assert [(e.outcome, e.attempt, e.error) for e in endings] == [
        (Outcome.RETRIED, 1, "ValueError: why"),
        (Outcome.FAILED, 2, "ValueError: why"),
    ]
    stored = view.get(job.message_id)
    assert stored is not None
    assert stored.state is State.FAILED
    assert stored.record is not None
    assert stored.record.header.attempts == 2
    events = [event["event"] for event in stored.timeline()]
    assert events == ["enqueued", "started", "error", "retry", "started", "error", "failed"]
    assert "raise ValueError" in str(stored.timeline()[2]["traceback"])


def test_the_operators_retry_starts_afresh_with_all_attempts(
    broker: JobBroker, view: QueueView, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    broken = True

    @dramatiq.actor(max_retries=1, min_backoff=1)
    def fails() -> None:
        if broken:
            raise ValueError("why")

    job = fails.send()
    with running(broker):
        wait_until(lambda: state_of(view, job.message_id) == "failed")
        stored = view.get(job.message_id)
        assert stored is not None
        assert view.retry(stored) == "ok"
        wait_until(lambda: len(endings) == 4)
        assert [e.attempt for e in endings] == [1, 2, 1, 2]
        broken = False
        stored = view.get(job.message_id)
        assert stored is not None
        assert view.retry(stored) == "ok"
        wait_until(lambda: state_of(view, job.message_id) == "completed")


def test_retry_is_refused_for_a_job_that_ran_in_between(
    broker: JobBroker, view: QueueView, add: Actor[..., object]
) -> None:
    job = add.send(-1)
    with running(broker):
        broker.join("default", timeout=5000)
        before = view.get(job.message_id)
        assert before is not None
        assert view.retry(before) == "ok"
        broker.join("default", timeout=5000)
    assert view.retry(before) == "changed"


@pytest.mark.parametrize(
    ("number", "delay", "state"), [(1, None, "waiting"), (1, 60_000, "delayed"), (1, 0, "completed"), (-1, 0, "failed")]
)
def test_a_job_that_does_not_run_can_be_removed(
    broker: JobBroker,
    view: QueueView,
    add: Actor[..., object],
    redis_client: redis.Redis,
    number: int,
    delay: int | None,
    state: str,
) -> None:
    job = add.send_with_options(args=(number,), delay=delay)
    if delay == 0:
        with running(broker):
            broker.join("default", timeout=5000)
    assert state_of(view, job.message_id) == state
    assert view.remove(job.message_id) == "ok"
    assert view.get(job.message_id) is None
    assert view.remove(job.message_id) == "missing"
    check_queue(redis_client)


def test_a_running_job_is_not_removed(broker: JobBroker, view: QueueView, wait_until: Callable[..., None]) -> None:
    import threading

    go = threading.Event()

    @dramatiq.actor
    def waits() -> None:
        go.wait(10)

    job = waits.send()
    with running(broker):
        wait_until(lambda: state_of(view, job.message_id) == "active")
        assert view.remove(job.message_id) == "active"
        go.set()
        broker.join("default", timeout=5000)


def test_promote_starts_a_delayed_job_now(
    broker: JobBroker, view: QueueView, add: Actor[..., object], wait_until: Callable[..., None]
) -> None:
    job = add.send_with_options(args=(1,), delay=600_000)
    with running(broker):
        assert view.promote(job.message_id) == "ok"
        wait_until(lambda: state_of(view, job.message_id) == "completed")
    assert view.promote(job.message_id) == "completed"
    assert view.promote("nobody") == "missing"


def test_clean_removes_the_oldest_first_and_at_most_the_limit(
    broker: JobBroker, view: QueueView, add: Actor[..., object], redis_client: redis.Redis
) -> None:
    jobs = []
    with running(broker, threads=1):
        for number in range(5):
            jobs.append(add.send(number))
            broker.join("default", timeout=5000)
    assert view.clean(State.COMPLETED, grace_ms=60_000, limit=10) == []
    removed = view.clean(State.COMPLETED, grace_ms=0, limit=2)
    assert removed == [job.message_id for job in jobs[:2]]
    assert view.counts().completed == 3
    check_queue(redis_client)


@pytest.mark.parametrize("delay", [None, 60_000])
def test_clean_of_waiting_and_delayed_goes_by_when_they_were_enqueued(
    broker: JobBroker, view: QueueView, add: Actor[..., object], redis_client: redis.Redis, delay: int | None
) -> None:
    messages = [add.message(i).copy(message_timestamp=1_000 + i, options={"priority": 5 - i}) for i in range(4)]
    young = add.message(9)
    broker.enqueue_many([(m, delay or 0) for m in [*messages, young]])
    state = State.DELAYED if delay else State.WAITING
    removed = view.clean(state, grace_ms=60_000, limit=3)
    assert removed == [m.message_id for m in messages[:3]]
    check_queue(redis_client)


@pytest.mark.parametrize("delay", [0, 60_000])
def test_clean_looks_at_a_bounded_number_of_jobs_and_at_every_priority(
    broker: JobBroker, view: QueueView, add: Actor[..., object], redis_client: redis.Redis, delay: int
) -> None:
    old = [add.message_with_options(args=(n,), priority=9).copy(message_timestamp=1_000 + n) for n in range(3)]
    young = [add.message_with_options(args=(n,), priority=n % 3) for n in range(9_000)]
    broker.enqueue_many([(m, delay // 2) for m in old] + [(m, delay) for m in young])
    state = State.DELAYED if delay else State.WAITING
    assert view.clean(state, grace_ms=60_000, limit=2) == [m.message_id for m in old[:2]]
    redis_client.config_resetstat()
    assert view.clean(state, grace_ms=60_000, limit=5) == [old[2].message_id]
    read = redis_client.info("commandstats")["cmdstat_hget"]["calls"]
    # Record and notes of each job that is looked at.
    assert read < 2 * 4 * (2_000 + 5 + 100) + 100


def test_what_reads_many_long_jobs_reads_few_at_a_time(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis
) -> None:
    @dramatiq.actor(actor_name="long", indexed=("kind",))
    def long(text: str, kind: int) -> None: ...

    messages = [long.message(text="x" * 100_000, kind=1) for _ in range(120)]
    broker.enqueue_many([(message, 0) for message in messages])
    ids = [message.message_id for message in messages]
    assert [job.job_id for job in view.jobs(State.WAITING, 0, -1)] == ids
    assert [job.job_id for job in view.jobs(State.WAITING, 3, 110)] == ids[3:111]
    finder = broker.finder("default")
    for found in (
        lambda cursor: broker.read(
            finder.by_state([State.WAITING], Span(), lambda _: True, limit=1_000, cursor=cursor)
        ),
        lambda cursor: broker.read(
            finder.by_term(term("kind", 1), [State.WAITING], Span(), lambda _: True, limit=1_000, cursor=cursor)
        ),
    ):
        first = found(None)
        # Eight MiB are a page, whatever was asked for.
        assert 80 <= len(first.jobs) <= 90
        rest = found(first.next_cursor)
        assert rest.next_cursor is None
        assert sorted(job.job_id for job in (*first.jobs, *rest.jobs)) == sorted(ids)
    redis_client.config_resetstat()
    assert len(view.clean(State.WAITING, grace_ms=-1, limit=100)) == 100
    assert redis_client.info("commandstats")["cmdstat_zrem"]["calls"] >= 20


@pytest.mark.parametrize("action", ["remove", "cancel", "retry", "promote"])
def test_an_operation_on_many_leaves_what_is_no_longer_as_it_was_found(
    broker: JobBroker, view: QueueView, add: Actor[..., object], action: str, wait_until: Callable[..., None]
) -> None:
    messages = [add.send_with_options(args=(n,), delay=60_000 if action == "promote" else None) for n in range(3)]
    if action in ("remove", "retry"):
        with running(broker):
            broker.join("default", timeout=5000)
    found = [job for m in messages if (job := view.get(m.message_id))]
    if action in ("remove", "retry"):
        assert view.retry(found[0]) == "ok"
    elif action == "cancel":
        view.remove(messages[0].message_id)
        broker.enqueue(messages[0], delay=60_000)
    else:
        view.promote(messages[0].message_id)
    words = view.act(action, found, "not wanted")
    assert words[1:] == ["ok", "ok"]
    assert words[0] != "ok"
    assert view.get(messages[0].message_id) is not None


@RARE_BEATS
def test_a_paused_queue_starts_nothing_until_it_is_resumed(
    broker: JobBroker, view: QueueView, add: Actor[..., object], wait_until: Callable[..., None]
) -> None:
    with running(broker):
        view.pause()
        paused = [add.send(i) for i in range(5)]
        other = broker.view("default")
        # The worker has asked and was told; the next thing it hears is the resume.
        wait_until(lambda: other.facts().workers)
        assert view.counts().waiting == 5
        assert view.counts().pauses
        view.resume()
        wait_until(lambda: all(state_of(view, job.message_id) == "completed" for job in paused), timeout_seconds=10)


def test_a_known_id_that_waits_is_not_doubled(broker: JobBroker, view: QueueView, add: Actor[..., object]) -> None:
    message = add.message(1)
    broker.enqueue(message)
    broker.enqueue(message)
    assert view.counts().waiting == 1


def test_a_known_id_that_ended_starts_afresh(
    broker: JobBroker, view: QueueView, add: Actor[..., object], endings: list[Ended]
) -> None:
    message = add.message(1)
    with running(broker):
        for _ in range(2):
            broker.enqueue(message)
            broker.join("default", timeout=5000)
    assert [e.outcome for e in endings] == [Outcome.COMPLETED] * 2
    assert view.counts().completed == 1


def test_a_message_enqueued_while_it_runs_runs_once_more(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    runs: list[int] = []

    @dramatiq.actor
    def follow_up(number: int) -> None:
        runs.append(number)
        if len(runs) == 1:
            broker.enqueue(message.copy(args=(2,)))

    message = follow_up.message(1)
    broker.enqueue(message)
    with running(broker):
        wait_until(lambda: runs == [1, 2])
        broker.join("default", timeout=5000)
    assert view.counts().completed == 1


def test_a_skipped_run_completes_as_skipped(
    broker: JobBroker, view: QueueView, add: Actor[..., object], endings: list[Ended]
) -> None:
    class Skip(dramatiq.Middleware):
        def before_process_message(self, broker: dramatiq.Broker, message: object) -> None:
            raise dramatiq.middleware.SkipMessage("not now")

    broker.add_middleware(Skip())
    job = add.send(1)
    with running(broker):
        broker.join("default", timeout=5000)
    stored = view.get(job.message_id)
    assert stored is not None
    assert (stored.state, stored.skipped) == (State.COMPLETED, True)
    assert [e.outcome for e in endings] == [Outcome.SKIPPED]


def test_flush_drops_everything_of_the_queue(
    broker: JobBroker, view: QueueView, add: Actor[..., object], redis_client: redis.Redis
) -> None:
    add.send(1)
    add.send_with_options(args=(1,), delay=60_000)
    broker.flush_all()
    counts = view.counts()
    assert (counts.waiting, counts.delayed) == (0, 0)
    check_queue(redis_client)


def test_counters_of_what_ended_survive_the_cleaning_of_jobs(
    broker: JobBroker, view: QueueView, add: Actor[..., object]
) -> None:
    for number in (1, 2, -1):
        add.send(number)
    with running(broker):
        broker.join("default", timeout=5000)
    view.clean(State.COMPLETED, grace_ms=0, limit=100)
    tally = view.facts().tally(60)
    assert (tally.completed, tally.failed) == (2, 1)


def test_a_story_stays_bounded_and_counts_dropped_events(
    broker: JobBroker, view: QueueView, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    @dramatiq.actor(max_retries=15, min_backoff=1, max_backoff=1)
    def fails() -> None:
        raise ValueError("x" * 5000)

    job = fails.send()
    with running(broker):
        wait_until(lambda: state_of(view, job.message_id) == "failed")
    stored = view.get(job.message_id)
    assert stored is not None
    assert stored.record is not None
    assert len(stored.record.story) <= 32_768 + 64
    events = stored.timeline()
    assert events[1]["event"] == "cut"
    assert int(str(events[1]["eventsLeftOut"])) > 0
    assert events[-1]["event"] == "failed"
