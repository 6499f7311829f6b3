"""How many runs ever ended, by actor and outcome: the scripts that end them count, so that no kill loses one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import dramatiq
import pytest
import redis
from dramatiq.encoder import JSONEncoder

from nomad_actors.broker import Defer, JobBroker, PermanentError
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.endings import Outcome
from nomad_actors.broker.records.stats import Totals
from nomad_actors.testing import running

from .test_recovery import beat, lose

KEY = "nomad:{default}:totals"


def totals(broker: JobBroker) -> Totals:
    return broker.totals(["default"])["default"]


def test_a_queue_of_an_earlier_release_begins_at_zero(broker: JobBroker) -> None:
    assert broker.totals(["default", "other"]) == {"default": {}, "other": {}}


def test_each_end_of_a_run_is_counted_by_actor_and_outcome(broker: JobBroker, wait_until: Callable[..., None]) -> None:
    asked: list[str] = []

    @dramatiq.actor(max_retries=1, min_backoff=1, max_backoff=1)
    def job(way: str) -> None:
        asked.append(way)
        if way == "fail":
            raise PermanentError("no")
        if way == "defer" and asked.count("defer") == 1:
            raise Defer(0.001, "later")
        if way == "retry":
            raise RuntimeError("no")

    @dramatiq.actor
    def other() -> None:
        pass

    for way in ("complete", "complete", "fail", "defer", "retry"):
        job.send(way)
    other.send()
    with running(broker):
        wait_until(lambda: sum(totals(broker).values()) == 8)
    assert totals(broker) == {
        ("job", "completed"): 3,
        ("job", "failed"): 2,
        ("job", "deferred"): 1,
        ("job", "retried"): 1,
        ("other", "completed"): 1,
    }


def test_a_release_and_both_ways_to_cancel_are_counted(broker: JobBroker, wait_until: Callable[..., None]) -> None:
    view, began, go = broker.view("default"), threading.Event(), threading.Event()

    @dramatiq.actor
    def job() -> None:
        began.set()
        while not go.wait(0.001):
            pass

    waiting = job.send_with_options(delay=60_000)
    view.cancel(waiting.message_id, "not wanted")
    running_job = job.send()
    with running(broker):
        assert began.wait(5)
        view.cancel(running_job.message_id, "enough")
        wait_until(lambda: totals(broker) == {("job", "cancelled"): 2})


def test_lost_workers_and_what_they_poisoned_are_counted(make_broker: Callable[..., JobBroker], wait_until) -> None:
    broker = make_broker(lease_ms=600)
    dramatiq.set_broker(broker)
    job = dramatiq.actor(lambda: None, actor_name="job").send()
    dramatiq.actor(lambda: None, actor_name="keeper", queue_name="keeper")
    view = broker.view("default")
    with running(broker, queues={"keeper"}):
        for request in (1, 2, 3):
            lose(broker, [job.message_id], worker=b"dead%04d" % request, request=request)
            wait_until(lambda: beat(broker) or not view.counts().active)
    assert totals(broker) == {("job", "recovered"): 3, ("job", "failed"): 1}
    assert (view.counts().recovered, view.counts().poison) == (3, 1)


def test_a_settlement_that_is_sent_twice_is_counted_once(broker: JobBroker, redis_client: redis.Redis) -> None:
    job = dramatiq.actor(lambda: None, actor_name="job").send()
    lose(broker, [job.message_id])
    ((stored, lease),) = redis_client.hgetall("nomad:{default}:active").items()  # type: ignore[union-attr]
    fields = (stored, lease[:14], "completed", 0, "", "", "", "", 0)
    settle = Call("settle", broker._base("default"), ("dead:1", "", *fields))
    assert [broker._links.run([settle])[0][1] for _ in range(2)] == [b"ok", b"already"]
    assert totals(broker) == {("job", "completed"): 1}


def cancelled(broker: JobBroker, name: str) -> None:
    """Add a job of an actor and cancel it."""
    message: dramatiq.Message[None] = dramatiq.Message("default", name, (), {}, {})
    broker.enqueue(message)
    broker.view("default").cancel(message.message_id, "")


@pytest.mark.parametrize("name", ["plain", "with space", 'quo"te', "back\\slash", "accentué", "colon:ed"])
def test_any_name_of_an_actor_is_kept(broker: JobBroker, name: str) -> None:
    broker.declare_queue("default")
    cancelled(broker, name)
    assert totals(broker) == {(name, "cancelled"): 1}


def test_names_without_end_share_one_total(broker: JobBroker, redis_client: redis.Redis) -> None:
    broker.declare_queue("default")
    for number in range(800):
        redis_client.hset(KEY, f"completed:actor-{number}", 1)
    cancelled(broker, "one-too-many")
    cancelled(broker, "another")
    cancelled(broker, "x" * 201)
    assert redis_client.hlen(KEY) == 801
    assert totals(broker)["unknown", "cancelled"] == 3
    # Those that have a total keep it.
    redis_client.hset(KEY, "cancelled:known", 5)
    cancelled(broker, "known")
    assert totals(broker)["known", "cancelled"] == 6


class Reversed(JSONEncoder):
    """Writes bytes that are no JSON."""

    def encode(self, data: dict[str, object]) -> bytes:
        return super().encode(data)[::-1]

    def decode(self, data: bytes) -> dict[str, object]:
        return super().decode(data[::-1])


def test_a_body_that_only_its_own_encoder_reads_counts_without_a_name(broker: JobBroker) -> None:
    broker.declare_queue("default")
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(Reversed())
    try:
        cancelled(broker, "job")
    finally:
        dramatiq.set_encoder(before)
    assert totals(broker) == {("unknown", "cancelled"): 1}


@pytest.mark.parametrize("value", ["", "x", "1.5", str(2**63 - 1)])
def test_a_total_that_somebody_spoiled_stops_no_script_and_begins_anew(
    broker: JobBroker, redis_client: redis.Redis, value: str
) -> None:
    broker.declare_queue("default")
    redis_client.hset(KEY, mapping={"cancelled:job": value, "no outcome": "1", "failed:job": "-1"})
    cancelled(broker, "job")
    assert totals(broker) == {("job", "cancelled"): 1}


def test_a_key_of_a_wrong_type_loses_no_job(broker: JobBroker, redis_client: redis.Redis) -> None:
    broker.declare_queue("default")
    redis_client.rpush(KEY, "not a hash")
    cancelled(broker, "job")
    assert broker.view("default").counts().cancelled == 1
    assert broker.totals(["default", "other"]) == {"other": {}}


def test_every_outcome_is_read_back(broker: JobBroker, redis_client: redis.Redis) -> None:
    redis_client.hset(KEY, mapping={f"{outcome.value}:job": number for number, outcome in enumerate(Outcome, 1)})
    assert totals(broker) == {("job", outcome.value): number for number, outcome in enumerate(Outcome, 1)}
