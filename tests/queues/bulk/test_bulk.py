"""Bulk operations are counted, run in steps, stopped, resumed, and continued after a crash."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from nomad_actors.app import QueueAccess, open_queues
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.worker.interrupts import guarded
from nomad_actors.errors import BadInput, WrongState
from nomad_actors.queues import NewJob
from nomad_actors.queues.bulk import BulkRequest, Operations, Runner
from nomad_actors.queues.bulk.operation import Operation
from nomad_actors.queues.search import JobFilter
from nomad_actors.settings import Settings
from nomad_actors.testing import LocalRedis, running
from tests.support.processes import environ_for

QUEUE = "token-refresh"


@pytest.fixture
def environ(tmp_path: Path, redis_url: str) -> dict[str, str]:
    return environ_for(tmp_path, redis_url)


@pytest.fixture
def access(environ: dict[str, str]) -> Iterator[QueueAccess]:
    access = open_queues(Settings.from_env(environ))
    yield access
    access.close()


@pytest.fixture
def operations(access: QueueAccess) -> Operations:
    return Operations(access.queues)


@pytest.fixture
def runner(access: QueueAccess) -> Runner:
    return Runner(access.queues)


def add(access: QueueAccess, count: int, *, delay: int = 0, user_id: int = 1) -> list[str]:
    data = [{"character_id": n + 1, "user_id": user_id} for n in range(count)]
    jobs = [NewJob(queue=QUEUE, job_type="token-refresh", data=each, delay=delay) for each in data]
    return [job.id for job in access.queues.add_jobs(jobs)]


def counts(access: QueueAccess) -> dict[str, int]:
    return {name: count for name, count in access.queues.get_queue(QUEUE).counts().items() if count}


def request(action: str, *states: str, **options: object) -> BulkRequest:
    defaults = {"per_second": 5_000, "by": "mira"}
    filters = {name: options.pop(name) for name in ("fields", "fingerprint", "job_type") if name in options}
    return BulkRequest(action=action, job_filter=JobFilter(states=states, **filters), **{**defaults, **options})  # type: ignore[arg-type]


def test_an_operation_acts_on_the_jobs_that_were_counted(
    access: QueueAccess, operations: Operations, runner: Runner
) -> None:
    add(access, 350)
    add(access, 20, delay=600_000)
    assert operations.count(QUEUE, request("cancel", "waiting")) == (350, True)
    assert counts(access) == {"waiting": 350, "delayed": 20}
    reports: list[Operation] = []
    ended = runner.run(operations.begin(QUEUE, request("cancel", "waiting", reason="wrong users")), reports.append)
    assert (ended.state, ended.done, ended.skipped, ended.total) == ("finished", 350, 0, 350)
    assert [report.done for report in reports] == [0, 100, 200, 300, 350]
    assert counts(access) == {"failed": 350, "delayed": 20}
    failed = access.queues.get_queue(QUEUE).jobs("failed", 0, 0)
    assert failed[0].failed_reason == "cancelled: wrong users (by mira)"
    promoted = runner.run(operations.begin(QUEUE, request("promote")))
    assert (promoted.done, counts(access)) == (20, {"failed": 350, "waiting": 20})
    # Cancelled jobs must not run again, and are not counted.
    assert operations.count(QUEUE, request("retry", "failed")) == (0, False)
    retried = runner.run(operations.begin(QUEUE, request("retry", "failed")))
    assert (retried.done, retried.skipped, counts(access)["failed"]) == (0, 350, 350)


def test_a_field_is_enough_to_select_jobs(access: QueueAccess, operations: Operations, runner: Runner) -> None:
    add(access, 30, user_id=1)
    add(access, 12, user_id=2)
    removal = request("remove", fields={"user_id": "2"})
    assert operations.count(QUEUE, removal)[0] == 12
    assert runner.run(operations.begin(QUEUE, removal)).done == 12
    assert counts(access) == {"waiting": 30}


def test_a_failure_group_is_retried_once_even_if_it_fails_again(
    access: QueueAccess, operations: Operations, runner: Runner, wait_until: Callable[..., None]
) -> None:
    broker, queue = access.broker, access.queues.get_queue(QUEUE)
    for name in access.queues.job_types:
        broker.actors[name].fn = fail
    data = {"character_id": 1, "user_id": 1}
    access.queues.add_job(QUEUE, "token-refresh", data, attempts=1)
    with running(broker, queues={QUEUE}):
        wait_until(lambda: queue.counts()["failed"] == 1)
        (group,) = queue.failures().failure_groups
        first = queue.jobs("failed")[0].finished_on_ms
        assert runner.run(operations.begin(QUEUE, request("retry", fingerprint=group.fingerprint))).done == 1
        wait_until(lambda: queue.counts()["failed"] == 1 and queue.jobs("failed")[0].finished_on_ms != first)
    assert [group.count for group in queue.failures().failure_groups] == [1]


def fail(**_: object) -> None:
    raise ValueError("on purpose")


def test_a_job_that_lost_every_worker_is_retried_only_by_its_fingerprint(
    access: QueueAccess, operations: Operations, runner: Runner, redis_client: redis.Redis
) -> None:
    queue = access.queues.get_queue(QUEUE)
    (job_id,) = add(access, 1)
    poison(access, redis_client, job_id)
    assert queue.get(job_id).failed_reason == "lost its worker 3 times"  # type: ignore[union-attr]
    retried = runner.run(operations.begin(QUEUE, request("retry", "failed")))
    assert (retried.done, retried.skipped) == (0, 1)
    (group,) = queue.failures().failure_groups
    assert runner.run(operations.begin(QUEUE, request("retry", fingerprint=group.fingerprint))).done == 1


def poison(access: QueueAccess, client: redis.Redis, job_id: str) -> None:
    """Let a job lose its worker three times."""
    base = access.broker._base(QUEUE)
    for number in range(3):
        dead = b"dead   %d" % number
        assert len(access.broker._links.run([Call("start", base, (dead, 1, 1, "dead:1", 1))])[0]) == 7
        seconds, _ = client.time()
        client.hset(f"{base}:workers", dead, struct.pack(">dId", 0, 1, 1e9) + b"dead:1")
        client.hset(f"{base}:workers", "tick", struct.pack(">dd", seconds * 1000 - 5_000, seconds * 1000))
        access.broker._links.run([Call("heartbeat", base, (b"witness.", "w:1", 0, 15_000))])


def test_fifty_finished_and_fifty_stopped_operations_are_kept(
    access: QueueAccess, operations: Operations, runner: Runner, redis_client: redis.Redis
) -> None:
    for _ in range(53):
        runner.run(operations.begin(QUEUE, request("remove", "failed")))
    running = operations.begin(QUEUE, request("remove", "failed"))
    assert redis_client.hlen(f"nomad:{{{QUEUE}}}:operations") == 51
    assert operations.get(QUEUE, running.id).state == "running"
    stopped = [operations.stop(QUEUE, operations.begin(QUEUE, request("remove", "failed")).id) for _ in range(53)]
    operations.begin(QUEUE, request("remove", "failed"))
    left = {operation.id: operation.state for operation in operations.of_queue(QUEUE)}
    assert list(left.values()).count("finished") == 50
    assert sum(operation.id in left for operation in stopped) == 50


def test_jobs_added_later_are_left_out(access: QueueAccess, operations: Operations, runner: Runner) -> None:
    add(access, 5)
    begun = operations.begin(QUEUE, request("remove", "waiting"))
    later = add(access, 3)
    assert runner.run(begun).done == 5
    assert [job.id for job in access.queues.get_queue(QUEUE).jobs("waiting")] == later


@pytest.mark.parametrize("action", ["remove", "cancel"])
def test_jobs_added_later_are_left_out_of_several_states_too(
    access: QueueAccess, operations: Operations, runner: Runner, action: str
) -> None:
    add(access, 30)
    add(access, 5, delay=600_000)
    begun = operations.begin(QUEUE, request(action, "waiting", "delayed", per_second=20))
    later: list[str] = []

    def add_more(now: Operation) -> None:
        if now.done == 20 and not later:
            later.extend([*add(access, 10), *add(access, 10, delay=300_000)])

    assert runner.run(begun, add_more).done == 35
    left = access.queues.get_queue(QUEUE).jobs(["waiting", "delayed"])
    assert sorted(job.id for job in left) == sorted(later)


def test_all_running_jobs_are_cancelled_while_the_first_end(
    access: QueueAccess, operations: Operations, runner: Runner, wait_until: Callable[..., None]
) -> None:
    queue = access.queues.get_queue(QUEUE)
    access.broker.declare_queue(QUEUE, concurrency=10)
    access.broker.actors["token-refresh"].fn = guarded(hang)
    add(access, 10)
    with running(access.broker, threads=10, queues={QUEUE}):
        wait_until(lambda: queue.counts()["active"] == 10)

        def wait_for_end(now: Operation) -> None:
            wait_until(lambda: queue.counts()["failed"] == now.done)

        ended = runner.run(operations.begin(QUEUE, request("cancel", "active", per_second=2)), wait_for_end)
        assert (ended.state, ended.done) == ("finished", 10)
        wait_until(lambda: counts(access) == {"failed": 10})


def test_a_runner_stops_soon_while_redis_does_not_respond(
    own_redis: LocalRedis, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    settings = Settings.from_env(environ_for(tmp_path, own_redis.url))
    access = open_queues(settings, caller_deadline_ms=1_000)
    operations, runner = Operations(access.queues), Runner(access.queues)
    add(access, 100)
    for _ in range(12):
        operations.begin(QUEUE, request("cancel", "waiting", per_second=1))
    runner.start()
    wait_until(lambda: all(each.owner == runner.name for each in operations.of_queue(QUEUE)), timeout_seconds=20)
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        runner.close()
        # One step and one attempt to release, not an attempt for each of the twelve operations.
        assert time.monotonic() - began < 6
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
        access.close()


def hang(**_: object) -> None:
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize("more", [{}, {"fields": {"user_id": "1"}}])
@pytest.mark.parametrize("paused_before", [False, True])
def test_a_pause_or_resume_does_not_change_the_selected_jobs(
    access: QueueAccess, operations: Operations, runner: Runner, more: dict[str, object], paused_before: bool
) -> None:
    add(access, 30)
    queue = access.queues.get_queue(QUEUE)
    if paused_before:
        queue.pause()
    begun = operations.begin(QUEUE, request("remove", "paused" if paused_before else "waiting", per_second=10, **more))
    changes = iter([queue.resume, queue.pause] if paused_before else [queue.pause, queue.resume])

    def pause_or_resume(now: Operation) -> None:
        if now.state == "running" and (change := next(changes, None)):
            change()

    ended = runner.run(begun, pause_or_resume)
    assert (ended.state, ended.done, ended.error) == ("finished", 30, "")


def test_a_slow_operation_does_not_delay_others(
    access: QueueAccess, operations: Operations, runner: Runner, wait_until: Callable[..., None]
) -> None:
    add(access, 60)
    add(access, 1, delay=600_000)
    slow = operations.begin(QUEUE, request("cancel", "waiting", per_second=1))
    runner.start()
    wait_until(lambda: operations.get(QUEUE, slow.id).done >= 1)
    fast = operations.begin(QUEUE, request("promote"))
    wait_until(lambda: operations.get(QUEUE, fast.id).state == "finished")
    wait_until(lambda: operations.get(QUEUE, slow.id).done >= 3)
    assert operations.get(QUEUE, slow.id).state == "running"
    runner.close()


def test_an_operation_belongs_to_the_command_that_began_it(
    access: QueueAccess, operations: Operations, runner: Runner
) -> None:
    add(access, 5)
    begun = operations.begin(QUEUE, request("remove", "waiting"), owner=runner.name)
    assert begun.owned_until_ms > access.clock.now_ms()
    operations.stop(QUEUE, begun.id)
    resumed = operations.resume(QUEUE, begun.id, owner=runner.name)
    assert (resumed.state, resumed.owner) == ("running", runner.name)
    assert runner.run(resumed).done == 5


@pytest.mark.parametrize("record", [b"\xff", b"[]", b"{}", b'{"request": 7}', b"[" * 3_000])
def test_an_invalid_record_does_not_stop_other_operations(
    access: QueueAccess,
    operations: Operations,
    runner: Runner,
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
    record: bytes,
) -> None:
    redis_client.hset("nomad:{cache-cleanup}:operations", "zz", record)
    redis_client.hset(f"nomad:{{{QUEUE}}}:operations", "zz", record)
    add(access, 3)
    begun = operations.begin(QUEUE, request("remove", "waiting"))
    assert [each.id for each in operations.all()] == [begun.id]
    runner.start()
    wait_until(lambda: operations.get(QUEUE, begun.id).state == "finished")
    runner.close()
    assert counts(access) == {}


def test_fields_of_a_newer_release_are_ignored(
    access: QueueAccess, operations: Operations, redis_client: redis.Redis
) -> None:
    begun = operations.begin(QUEUE, request("remove", "waiting"))
    key = f"nomad:{{{QUEUE}}}:operations"
    record = json.loads(redis_client.hget(key, begun.id))
    record["more"] = record["request"]["more"] = record["request"]["job_filter"]["more"] = 1
    redis_client.hset(key, begun.id, json.dumps(record))
    assert operations.get(QUEUE, begun.id) == begun


def test_each_cancelled_job_names_who_cancelled_it(access: QueueAccess, operations: Operations, runner: Runner) -> None:
    add(access, 1)
    runner.run(operations.begin(QUEUE, request("cancel", "waiting")))
    assert access.queues.get_queue(QUEUE).jobs("failed")[0].failed_reason == "cancelled: cancelled by mira"


def test_a_step_counts_even_if_the_operation_was_stopped_and_resumed_meanwhile(
    access: QueueAccess, operations: Operations, runner: Runner
) -> None:
    add(access, 300)
    begun = operations.begin(QUEUE, request("remove", "waiting"))

    def stop_and_resume(now: Operation) -> None:
        if now.done == 100 and now.state == "running":
            operations.stop(QUEUE, now.id)
            operations.resume(QUEUE, now.id)

    released = runner.run(begun, stop_and_resume)
    assert (released.state, released.done, counts(access)) == ("running", 200, {"waiting": 100})
    assert runner.run(released).done == 300


def test_a_stopped_operation_resumes_where_it_stopped(
    access: QueueAccess, operations: Operations, runner: Runner
) -> None:
    add(access, 300)
    begun = operations.begin(QUEUE, request("remove", "waiting"))

    def stop_once(now: Operation) -> None:
        if now.done == 100 and now.state == "running":
            operations.stop(QUEUE, now.id)

    stopped = runner.run(begun, stop_once)
    # The current step was completed, and counts.
    assert (stopped.state, stopped.done, counts(access)) == ("stopped", 200, {"waiting": 100})
    with pytest.raises(WrongState, match="is stopped, not running"):
        operations.stop(QUEUE, begun.id)
    ended = runner.run(operations.resume(QUEUE, begun.id))
    assert (ended.state, ended.done, counts(access)) == ("finished", 300, {})
    with pytest.raises(WrongState, match="is finished, not stopped"):
        operations.resume(QUEUE, begun.id)


def test_an_operation_keeps_to_its_rate(access: QueueAccess, operations: Operations, runner: Runner) -> None:
    add(access, 100)
    began = time.monotonic()
    runner.run(operations.begin(QUEUE, request("remove", "waiting", per_second=50)))
    # 50 jobs, one second, 50 jobs.
    assert time.monotonic() - began >= 1.0
    assert counts(access) == {}


KILLED = """
import os, sys
from nomad_actors.app import open_queues
from nomad_actors.queues.bulk import Operations, Runner
from nomad_actors.settings import Settings

access = open_queues(Settings.from_env(os.environ))
(operation,) = Operations(access.queues).all()
Runner(access.queues).run(operation, lambda now: print(now.done, flush=True))
"""


def test_another_runner_continues_after_sigkill_without_repeating_a_job(
    access: QueueAccess, operations: Operations, environ: dict[str, str], wait_until: Callable[..., None]
) -> None:
    add(access, 2_000, delay=600_000)
    begun = operations.begin(QUEUE, request("promote", per_second=400))
    process = subprocess.Popen([sys.executable, "-c", KILLED], env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)][-1] == "200\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    orphan = operations.get(QUEUE, begun.id)
    assert orphan.owned_until_ms > access.clock.now_ms()
    # As if ten seconds had passed and the ownership had expired.
    assert operations.save(Operation(**{**vars_of(orphan), "owned_until_ms": 1})) is not None
    successor = Runner(access.queues)
    successor.start()
    wait_until(lambda: operations.get(QUEUE, begun.id).state == "finished", timeout_seconds=20)
    successor.close()
    assert counts(access) == {"waiting": 2_000}
    assert [event["event"] for event in access.queues.get_queue(QUEUE).jobs("waiting", 0, 0)[0].timeline] == [
        "enqueued",
        "promoted",
    ]


def vars_of(operation: Operation) -> dict[str, object]:
    return {name: getattr(operation, name) for name in operation.__dataclass_fields__}


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        (request("explode", "failed"), "action 'explode' is invalid .allowed: retry, remove, promote, cancel"),
        (request("retry", "waiting"), "retry does not take jobs that are 'waiting' .allowed: failed, completed"),
        (request("remove"), "nothing selects the jobs to remove: name a status, an outcome, a field or a fingerprint"),
        (request("remove", "failed", per_second=0), "perSecond 0 is invalid .allowed: 1 to 5000"),
        (request("remove", fields={"mood": "bad"}), "cannot be found by field 'mood'"),
    ],
)
def test_an_invalid_request_is_refused_before_anything_is_saved(
    operations: Operations, invalid: BulkRequest, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        operations.begin(QUEUE, invalid)
    assert operations.all() == []
