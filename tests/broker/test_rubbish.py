"""Rubbish in a queue stops nobody: it fails with its reason, the jobs around it complete."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
import redis

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, State, records
from nomad_actors.broker.endings import Ended
from nomad_actors.broker.keys import PRIORITY_STEP
from nomad_actors.testing import running

BASE = "nomad:{default}"


def plant(client: redis.Redis, stored_id: bytes, value: bytes) -> None:
    """Put a value where a waiting job's record should be, ahead of all others."""
    client.hset(f"{BASE}:jobs", stored_id, value)
    client.zadd(f"{BASE}:waiting", {stored_id: -PRIORITY_STEP})


def record(body: bytes) -> bytes:
    header = records.HEADER.pack(1, 0, 0, 0, 0, 1e12, 1e12, 0, 0, b"c" * 8, b"\0" * 14, len(body))
    return header + body


def fields(**changed: object) -> bytes:
    intact = {"actor_name": "job", "args": [], "kwargs": {}, "options": {}}
    return json.dumps({k: v for k, v in {**intact, **changed}.items() if v != "missing"}).encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"", "not a job's record", id="nothing"),
        pytest.param(b"\xff" * 100, "not a job's record", id="no record"),
        pytest.param(record(b"not json"), "cannot be decoded", id="no JSON"),
        pytest.param(record(b"[]"), "not an object", id="no object"),
        pytest.param(record(fields(args="missing")), "no 'args'", id="a field missing"),
        pytest.param(record(fields(options=None)), "'options' is of type NoneType", id="options null"),
        pytest.param(record(fields(actor_name=["x"])), "'actor_name' is of type list", id="a list for a name"),
    ],
)
def test_rubbish_fails_with_its_reason_and_a_hundred_jobs_around_it_complete(
    broker: JobBroker, redis_client: redis.Redis, endings: list[Ended], value: bytes, reason: str
) -> None:
    ran: list[int] = []
    job = dramatiq.actor(ran.append, actor_name="job")
    for i in range(50):
        job.send(i)
    plant(redis_client, b"rubbish", value)
    for i in range(50, 100):
        job.send(i)
    with running(broker):
        broker.join("default", timeout=10_000)
    assert sorted(ran) == list(range(100))
    view = broker.view("default")
    found = view.get("rubbish")
    assert found is not None
    assert found.state is State.FAILED
    assert reason in str(found.timeline()[-1]["reason"])
    assert [e.error for e in endings if e.outcome == "failed"] == [found.timeline()[-1]["reason"]]
    check_queue(redis_client)


def test_a_job_whose_actor_nobody_knows_comes_back_later_and_fails_in_the_end(
    broker: JobBroker, redis_client: redis.Redis, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    ran: list[int] = []
    dramatiq.actor(ran.append, actor_name="job")
    view = broker.view("default")
    now_ms = redis_client.time()[0] * 1000
    plant(redis_client, b"fresh", record(fields(actor_name="nobody")))
    long_ago = fields(actor_name="nobody", options={"nomad_unknown_since_ms": now_ms - 700_000})
    plant(redis_client, b"old", record(long_ago))
    with running(broker):
        wait_until(lambda: len(endings) == 2)
        broker.get_actor("job").send(1)
        wait_until(lambda: ran == [1])
    fresh, old = view.get("fresh"), view.get("old")
    assert fresh is not None
    assert old is not None
    assert fresh.state is State.DELAYED
    assert fresh.record is not None
    assert fresh.record.header.attempts == 0
    assert "no actor 'nobody' is declared in worker" in str(fresh.timeline()[-1]["reason"])
    assert old.state is State.FAILED
    assert "no live worker has known actor 'nobody' for 10 minutes" in str(old.timeline()[-1]["reason"])


def test_a_due_time_in_a_bodys_options_does_not_park_the_job_in_the_worker(
    broker: JobBroker, redis_client: redis.Redis
) -> None:
    ran: list[int] = []
    dramatiq.actor(ran.append, actor_name="job")
    plant(redis_client, b"with eta", record(fields(args=[1], options={"eta": "soon"})))
    with running(broker):
        broker.join("default", timeout=5000)
    assert ran == [1]


def test_a_result_that_has_no_json_form_fails_the_job_with_that_reason(broker: JobBroker) -> None:
    from nomad_actors.broker.worker.lease import CURRENT

    @dramatiq.actor(max_retries=0)
    def job() -> None:
        lease = CURRENT.get()
        assert lease is not None
        lease.result = records.pack_result(object())

    message = job.send()
    with running(broker):
        broker.join("default", timeout=5000)
    found = broker.view("default").get(message.message_id)
    assert found is not None
    assert found.state is State.FAILED
    assert "not JSON serializable" in str(found.timeline()[-1]["reason"])


def test_an_event_of_a_newer_release_is_passed_over() -> None:
    story = struct.pack(">BdI", 99, 1.0, 3) + b"new" + records.EVENT.pack(records.EventKind.RELEASED, 2.0, 0)
    header = records.Header(0, 0, 0, 0, 0, 0, 0, 0, b"")
    assert [e.kind for e in records.Record(header, b"", story).events()] == [records.EventKind.RELEASED]


@pytest.mark.parametrize(
    "timestamp",
    [*("x", "1793534400000", None, [], {}, True), *(float("nan"), float("inf"), 1e300, -1, 10**400, 2**60)],
    ids=lambda each: f"{each!r:.20}",
)
def test_a_time_that_is_none_fails_its_job_with_the_reason(broker: JobBroker, timestamp: Any) -> None:
    ran: list[int] = []
    job = dramatiq.actor(ran.append, actor_name="job")
    wrong = [job.message(1).copy(message_timestamp=timestamp), job.message(2).copy(message_timestamp=timestamp)]
    broker.enqueue(wrong[0], delay=1)
    broker.enqueue_many([(wrong[1], 0)])
    job.send(3)
    with running(broker):
        broker.join("default", timeout=10_000)
    assert ran == [3]
    for message in wrong:
        found = broker.view("default").get(message.message_id)
        assert found is not None
        assert (found.state, found.record and found.record.header.created_ms) == (State.FAILED, 0)
        assert "its message_timestamp is invalid (allowed: 0 to" in str(found.reason())


@pytest.mark.parametrize("at_ms", [float("nan"), float("inf"), -1e300, 1e300])
def test_a_record_whose_times_are_none_fails_too(
    broker: JobBroker, redis_client: redis.Redis, endings: list[Ended], at_ms: float
) -> None:
    ran: list[int] = []
    job = dramatiq.actor(ran.append, actor_name="job")
    body = fields(args=[1])
    header = records.HEADER.pack(1, 0, 0, 0, 0, at_ms, at_ms, at_ms, at_ms, b"c" * 8, b"\0" * 14, len(body))
    plant(redis_client, b"rubbish", header + body)
    job.send(2)
    with running(broker):
        broker.join("default", timeout=10_000)
    assert ran == [2]
    assert sorted(ended.outcome for ended in endings) == ["completed", "failed"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((name, value) for name in ("max_retries", "time_limit", "max_age") for value in ("5", [], True, {})),
        *(
            ("retries", {}),
            ("min_backoff", "x"),
            ("max_backoff", float("nan")),
            ("pipe_target", "next"),
            ("pipe_target", [1]),
        ),
    ],
)
def test_options_that_middleware_would_fail_by_fail_the_job(broker: JobBroker, option: str, value: object) -> None:
    ran: list[int] = []
    job = dramatiq.actor(ran.append, actor_name="job")
    message = job.message(1).copy(options={option: value})
    broker.enqueue(message)
    job.send_with_options(args=(2,), time_limit=float("inf"), max_retries=None, max_age=86_400_000)
    with running(broker):
        broker.join("default", timeout=10_000)
    assert ran == [2]
    found = broker.view("default").get(message.message_id)
    assert found is not None
    assert (found.state, f"its option '{option}' is" in str(found.reason())) == (State.FAILED, True)
