"""Unique keys and callers' own keys: which job stands, until when, and what becomes of the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq import Actor, Message

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, State
from nomad_actors.broker.client.finder import Span
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.errors import BadOption, KeyReused
from nomad_actors.broker.records.tags import term
from nomad_actors.testing import running

gate = threading.Event()
ran: list[int] = []


@pytest.fixture(autouse=True)
def shut() -> Iterator[None]:
    gate.clear()
    ran.clear()
    yield
    gate.set()


@pytest.fixture
def view(broker: JobBroker) -> QueueView:
    return broker.view("default")


@pytest.fixture
def work(broker: JobBroker) -> Actor[..., Any]:
    broker.declare_queue("default", concurrency=1)

    @dramatiq.actor(actor_name="work", max_retries=0)
    def work(number: int = 0) -> None:
        ran.append(number)
        gate.wait(10)

    return work


def add(work: Actor[..., Any], number: int = 0, **options: Any) -> Message[Any]:
    delay = options.pop("delay", None)
    return work.send_with_options(args=(number,), delay=delay, **{"unique_key": "wallet/1", **options})


def state(view: QueueView, message: Message[Any]) -> str | None:
    job = view.get(message.message_id)
    return job.state.value if job else None


@pytest.mark.parametrize("until", ["start", "end", 60])
def test_a_waiting_job_with_the_key_stays_and_its_id_is_returned(
    work: Actor[..., Any], view: QueueView, redis_client: redis.Redis, until: object
) -> None:
    first = add(work, unique_until=until)
    second = add(work, unique_until=until)
    assert second.message_id == first.message_id
    assert view.counts().waiting == 1
    assert add(work, unique_until=until, unique_key="wallet/2").message_id != first.message_id
    check_queue(redis_client)


def test_a_key_may_hold_half_a_surrogate_pair(work: Actor[..., Any]) -> None:
    first = add(work, unique_key="wallet/\ud800")
    assert add(work, unique_key="wallet/\ud800").message_id == first.message_id
    assert add(work, unique_key="wallet/\ud801").message_id != first.message_id


@pytest.mark.parametrize(("until", "stands"), [("start", False), ("end", True)])
def test_once_it_runs_only_the_longer_key_is_held(
    broker: JobBroker,
    work: Actor[..., Any],
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
    until: str,
    stands: bool,
) -> None:
    first = add(work, unique_until=until)
    with running(broker):
        wait_until(lambda: ran)
        check_queue(redis_client)
        second = add(work, unique_until=until)
        assert (second.message_id == first.message_id) is stands
        gate.set()
        broker.join("default", timeout=5000)
        third = add(work, unique_until=until)
        assert third.message_id not in (first.message_id, second.message_id)
        broker.join("default", timeout=5000)
        check_queue(redis_client)


@pytest.mark.parametrize("until", ["end", 60])
@pytest.mark.parametrize("how", ["remove", "clean"])
def test_a_job_that_never_began_takes_its_key_with_it(
    work: Actor[..., Any], view: QueueView, how: str, until: object
) -> None:
    first = add(work, unique_until=until)
    if how == "remove":
        view.remove(first.message_id)
    else:
        view.clean(State.WAITING, grace_ms=-1, limit=1)
    assert add(work, unique_until=until).message_id != first.message_id


@pytest.mark.parametrize("how", ["remove", "cancel", "clean"])
def test_what_takes_a_job_away_frees_its_key(
    work: Actor[..., Any], view: QueueView, redis_client: redis.Redis, how: str
) -> None:
    first = add(work)
    if how == "remove":
        view.remove(first.message_id)
    elif how == "cancel":
        view.cancel(first.message_id, "not wanted")
    else:
        view.clean(view.get(first.message_id).state, grace_ms=-1, limit=1)  # type: ignore[union-attr]
    assert add(work).message_id != first.message_id
    check_queue(redis_client)


def test_a_key_for_a_time_outlives_its_job_and_then_goes(
    broker: JobBroker, work: Actor[..., Any], view: QueueView, wait_until: Callable[..., None]
) -> None:
    gate.set()
    first = add(work, unique_until=1)
    with running(broker):
        broker.join("default", timeout=5000)
    view.remove(first.message_id)
    assert add(work, unique_until=1).message_id == first.message_id
    assert view.counts().waiting == 0
    wait_until(lambda: add(work, unique_until=1).message_id != first.message_id, timeout_seconds=5)


def test_with_replace_a_new_job_replaces_a_waiting_one(
    work: Actor[..., Any], view: QueueView, redis_client: redis.Redis
) -> None:
    first = add(work, 1, delay=60_000)
    second = add(work, 2, unique_replace=True)
    assert (state(view, first), state(view, second)) == (None, "waiting")
    assert add(work, 3).message_id == second.message_id
    check_queue(redis_client)


def test_with_replace_one_that_runs_is_run_once_more_with_the_new_data(
    broker: JobBroker, work: Actor[..., Any], view: QueueView, wait_until: Callable[..., None]
) -> None:
    first = add(work, 1)
    with running(broker):
        wait_until(lambda: ran)
        assert add(work, 2, unique_replace=True).message_id == first.message_id
        gate.set()
        broker.join("default", timeout=5000)
    assert ran == [1, 2]


def test_what_begins_after_one_that_runs_keeps_its_own_delay_and_is_found(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    @dramatiq.actor(actor_name="found", max_retries=0, indexed=("number",))
    def found(number: int) -> None:
        ran.append(number)
        gate.wait(10)

    def send(number: int, **options: Any) -> Message[Any]:
        return found.send_with_options(kwargs={"number": number}, unique_key="one", **options)

    def ids(number: int) -> list[str]:
        finder, is_shown = broker.finder("default"), lambda _: True
        reading = finder.by_term(term("number", number), list(State), Span(), is_shown, limit=9, cursor=None)
        return [job.job_id for job in broker.read(reading).jobs]

    first = send(1)
    with running(broker):
        wait_until(lambda: ran)
        assert send(2, unique_replace=True, delay=60_000).message_id == first.message_id
        assert send(3, unique_replace=True, delay=60_000, priority=7).message_id == first.message_id
        # It has not begun, and is returned to a call without `unique_replace`.
        assert send(4).message_id == first.message_id
        gate.set()
        wait_until(lambda: view.counts().delayed == 1)
    job = view.get(first.message_id)
    assert job is not None
    assert job.message is not None
    assert job.record is not None
    assert (job.message.kwargs, job.record.header.priority) == ({"number": 3}, 7)
    assert ids(3) == [first.message_id]
    assert ids(1) == ids(2) == []
    assert send(5).message_id == first.message_id
    assert ran == [1]
    check_queue(redis_client)


def test_the_retries_of_one_that_runs_are_its_own_whatever_is_to_follow(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    @dramatiq.actor(actor_name="fails", max_retries=2, min_backoff=1, max_backoff=1)
    def fails(number: int) -> None:
        ran.append(number)
        gate.wait(10)
        if number == 1:
            raise ValueError("as ever")

    first = fails.send_with_options(args=(1,), unique_key="one")
    with running(broker):
        wait_until(lambda: ran)
        fails.send_with_options(args=(2,), unique_key="one", unique_replace=True)
        gate.set()
        wait_until(lambda: view.counts().completed == 1)
    assert ran == [1, 1, 1, 2]
    job = view.get(first.message_id)
    assert job is not None
    assert [event["event"] for event in job.timeline() if event["event"] in ("failed", "completed")] == [
        *("failed", "completed"),
    ]


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_cancel_is_of_what_was_there_when_it_was_asked_for(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None], cancelled_first: bool
) -> None:
    inside = threading.Event()

    @dramatiq.actor(actor_name="holds", max_retries=0)
    def takes_key(number: int) -> None:
        ran.append(number)
        try:
            while number == 1:
                time.sleep(0.01)
        finally:
            inside.wait(10)

    message = takes_key.message(1)
    broker.enqueue(message)
    with running(broker):
        wait_until(lambda: ran)

        def cancel() -> None:
            assert view.cancel(message.message_id, "not wanted") == "asked"

        if cancelled_first:
            cancel()
            # The reply was lost, and it is asked for once more.
            broker.enqueue(message.copy(args=(2,)))
            cancel()
        else:
            broker.enqueue(message.copy(args=(2,)))
            cancel()
        inside.set()
        wait_until(lambda: (counts := view.counts()).active + counts.waiting == 0)
    assert ran == ([1, 2] if cancelled_first else [1])
    counts = view.counts()
    assert (counts.completed, counts.failed) == ((1, 0) if cancelled_first else (0, 1))


def test_an_ended_job_that_is_added_anew_gives_back_the_key_that_it_had(
    broker: JobBroker, work: Actor[..., Any], view: QueueView, redis_client: redis.Redis
) -> None:
    gate.set()
    first = add(work, unique_key="one")
    with running(broker):
        broker.join("default", timeout=5000)
    stored = view.get(first.message_id)
    assert stored is not None
    assert view.retry(stored) == "ok"
    view.cancel(first.message_id, "")
    broker.enqueue(work.message_with_options(args=(2,), unique_key="two").copy(message_id=first.message_id))
    check_queue(redis_client)
    assert add(work, unique_key="one").message_id != first.message_id


def test_an_operators_retry_takes_the_key_back(broker: JobBroker, work: Actor[..., Any], view: QueueView) -> None:
    first = add(work)
    view.cancel(first.message_id, "")
    stored = view.get(first.message_id)
    assert stored is not None
    assert view.retry(stored) == "ok"
    assert add(work).message_id == first.message_id


def test_an_operation_on_many_runs_no_two_of_one_key(
    broker: JobBroker, work: Actor[..., Any], view: QueueView, redis_client: redis.Redis
) -> None:
    messages = []
    for number in range(3):
        messages.append(add(work, number))
        view.cancel(messages[-1].message_id, "")
    failed = [job for m in messages if (job := view.get(m.message_id))]
    assert view.act("retry", failed) == ["ok", "held", "held"]
    assert view.counts().waiting == 1
    # Who names one means it.
    assert view.retry(failed[1]) == "ok"
    check_queue(redis_client)


def test_many_at_once_are_unique_too(broker: JobBroker, work: Actor[..., Any], view: QueueView) -> None:
    messages = [work.message_with_options(args=(n,), unique_key=f"key {n % 7}") for n in range(700)]
    added = broker.enqueue_many([(message, 0) for message in messages])
    assert view.counts().waiting == 7
    assert {each.job_id for each in added} == {message.message_id for message in messages[:7]}
    assert [each.new for each in added] == [True] * 7 + [False] * 693


def test_a_callers_key_makes_the_same_call_one_job_also_after_it_is_gone(
    work: Actor[..., Any], view: QueueView, redis_client: redis.Redis
) -> None:
    def ask(number: int) -> Message[Any]:
        return work.send_with_options(args=(number,), idempotency_key="order 5")

    first = ask(1)
    assert ask(1).message_id == first.message_id
    view.remove(first.message_id)
    assert ask(1).message_id == first.message_id
    assert view.counts().waiting == 0
    with pytest.raises(KeyReused, match=first.message_id):
        ask(2)
    (key,) = redis_client.scan_iter("nomad:{default}:asked:*")
    # Within a day, and no longer.
    assert 86_300_000 < int(redis_client.pttl(key)) <= 86_400_000  # type: ignore[arg-type]


@pytest.mark.parametrize("stands", ["waits", "runs", "by id"])
def test_a_callers_key_is_kept_where_another_job_stands_too(
    broker: JobBroker, work: Actor[..., Any], view: QueueView, wait_until: Callable[..., None], stands: str
) -> None:
    first = add(work, 1)

    def ask(number: int) -> Message[Any]:
        options = {"idempotency_key": "order 6", "unique_replace": stands == "runs"}
        if stands == "by id":
            message = work.message_with_options(args=(number,), idempotency_key="order 6")
            return broker.enqueue(message.copy(message_id=first.message_id))
        return add(work, number, **options)

    with running(broker) if stands == "runs" else nullcontext():
        if stands == "runs":
            wait_until(lambda: ran)
        assert ask(2).message_id == first.message_id
        gate.set()
    with running(broker):
        broker.join("default", timeout=5000)
    view.remove(first.message_id)
    assert ask(2).message_id == first.message_id
    assert view.counts().waiting == 0
    with pytest.raises(KeyReused, match=first.message_id):
        ask(3)


@pytest.mark.parametrize(
    "options", [{"unique_key": ""}, {"unique_key": 5}, {"unique_until": "never"}, {"unique_until": 0}]
)
def test_an_invalid_option_is_refused_with_the_allowed_values(
    work: Actor[..., Any], view: QueueView, options: dict[str, object]
) -> None:
    with pytest.raises(BadOption, match="allowed"):
        add(work, **options)
    assert view.counts().waiting == 0
