"""Finding jobs by field, state, job type, time and fingerprint, page by page, and listing why they failed."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable

import pytest
import redis
from pydantic import Field

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker
from nomad_actors.broker.records.failures import normalised, own_frame
from nomad_actors.clock import SystemClock
from nomad_actors.errors import BadInput, UnknownState
from nomad_actors.queues import NewJob, Queue, Queues
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.queues.search import JobFilter, parse_fields
from nomad_actors.settings import Settings
from nomad_actors.testing import running


class Sync(Payload):
    character_id: int
    endpoint: str = "/wallet"
    tags: list[str] = Field(default_factory=list)
    broken: str = ""


class Done(Result):
    ok: bool = True


def sync(payload: Sync) -> Done:
    if payload.broken == "missing":
        raise KeyError(payload.character_id)
    if payload.broken:
        raise ValueError(f"character {payload.character_id} has {payload.broken}")
    return Done()


def other(payload: Sync) -> Done:
    return sync(payload)


#: ["s","failed","nan",""]
WITHOUT_PLACE = "WyJzIiwiZmFpbGVkIiwibmFuIiwiIl0"

TYPES = [
    JobType(
        name=name,
        queue="syncs",
        payload=Sync,
        result=Done,
        run=run,
        attempts=1,
        concurrency=4,
        indexed=("character_id", "endpoint", "tags"),
    )
    for name, run in (("sync", sync), ("other", other))
]


@pytest.fixture
def queues(broker: JobBroker) -> Queues:
    queues = Queues(broker, settings=Settings(), clock=SystemClock())
    for job_type in TYPES:
        queues.register(job_type)
    return queues


@pytest.fixture
def queue(queues: Queues) -> Queue:
    return queues.get_queue("syncs")


def add(queues: Queues, count: int, job_type: str = "sync", delay: int = 0, **data: object) -> list[str]:
    jobs = [
        NewJob(queue="syncs", job_type=job_type, data={"character_id": n, **data}, delay=delay) for n in range(count)
    ]
    return [job.id for job in queues.add_jobs(jobs)]


def run_all(broker: JobBroker) -> None:
    with running(broker, threads=4):
        broker.join("syncs", timeout=10_000)


def all_pages(queue: Queue, job_filter: JobFilter, limit: int) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = queue.find(job_filter, limit=limit, cursor=cursor)
        found += [job.id for job in page.jobs]
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


def test_a_field_finds_its_jobs_in_every_state_newest_first(queues: Queues, queue: Queue, broker: JobBroker) -> None:
    ended = queues.add_job("syncs", "sync", {"character_id": 7})
    failed = queues.add_job("syncs", "sync", {"character_id": 7, "broken": "gaps"})
    run_all(broker)
    delayed = queues.add_job("syncs", "sync", {"character_id": 7}, delay=60_000)
    add(queues, 7)
    waiting = queues.add_job("syncs", "sync", {"character_id": 7, "tags": ["a", "b"]})
    page = queue.find(JobFilter(fields={"character_id": "7"}))
    assert [job.id for job in page.jobs] == [waiting.id, delayed.id, failed.id, ended.id]
    assert [job.status for job in page.jobs] == ["waiting", "delayed", "failed", "completed"]
    assert page.next_cursor is None
    both = queue.find(JobFilter(fields={"character_id": "7", "tags": "b"}))
    assert [job.id for job in both.jobs] == [waiting.id]
    some = queue.find(JobFilter(fields={"character_id": "7"}, states=["failed", "delayed"]))
    assert [job.id for job in some.jobs] == [delayed.id, failed.id]


@pytest.mark.parametrize("by", ["state", "field"])
def test_pages_show_every_job_once_while_others_come_and_go(queues: Queues, queue: Queue, by: str) -> None:
    ids = add(queues, 250, endpoint="/wallet")
    job_filter = JobFilter(states=["waiting"]) if by == "state" else JobFilter(fields={"endpoint": "/wallet"})
    found: list[str] = []
    cursor = None
    while len(found) < 250:
        page = queue.find(job_filter, limit=60, cursor=cursor)
        found += [job.id for job in page.jobs if job.id in ids]
        # The job that the cursor names is removed, and a new one is added.
        queue.remove(found[-1])
        add(queues, 1, endpoint="/wallet")
        cursor = page.next_cursor
        assert cursor is not None or len(found) >= 250
    assert sorted(found) == sorted(ids)


def test_pages_list_one_state_after_another(queues: Queues, queue: Queue, broker: JobBroker) -> None:
    done = add(queues, 5)
    run_all(broker)
    waiting, delayed = add(queues, 3), add(queues, 4, delay=60_000)
    found = all_pages(queue, JobFilter(states=["waiting", "delayed", "completed"]), 2)
    assert found[:3] == waiting
    # All were due at the same instant.
    assert sorted(found[3:7]) == sorted(delayed)
    assert sorted(found[7:]) == sorted(done)
    assert found == all_pages(queue, JobFilter(states=["waiting", "delayed", "completed"]), 5)


def test_jobs_are_found_by_type_and_time(queues: Queues, queue: Queue, broker: JobBroker) -> None:
    add(queues, 3)
    others = add(queues, 3, "other")
    assert all_pages(queue, JobFilter(states=["waiting"], job_type="other"), 2) == others
    run_all(broker)
    ended = [job.finished_on_ms or 0 for job in queue.jobs("completed", 0, -1)]
    later = queue.find(JobFilter(states=["completed"], since_ms=max(ended) + 10))
    earlier = queue.find(JobFilter(states=["completed"], until_ms=min(ended) - 10))
    within = queue.find(JobFilter(states=["completed"], since_ms=min(ended) - 1, until_ms=max(ended) + 1))
    assert (len(later.jobs), len(earlier.jobs), len(within.jobs)) == (0, 0, 6)


def test_waiting_jobs_are_found_by_the_time_they_were_added(queues: Queues, queue: Queue) -> None:
    add(queues, 3)
    added_ms = queue.jobs("waiting")[0].timestamp_ms
    for since, until, count in (
        (added_ms + 5_000, None, 0),
        (None, added_ms - 5_000, 0),
        (added_ms - 5_000, added_ms + 5_000, 3),
    ):
        job_filter = JobFilter(states=["waiting"], since_ms=since, until_ms=until)
        assert len(queue.find(job_filter).jobs) == count


def test_a_page_reads_no_more_than_two_thousand_jobs(queues: Queues, queue: Queue, redis_client: redis.Redis) -> None:
    add(queues, 4_500)
    last = queues.add_job("syncs", "other", {"character_id": 1})
    redis_client.config_resetstat()
    page = queue.find(JobFilter(states=["waiting"], job_type="other"))
    assert (page.jobs, page.next_cursor is None) == ([], False)
    # The record and notes of each job, and the rest of the step in which the limit was reached.
    assert redis_client.info("commandstats")["cmdstat_hget"]["calls"] < 2 * 2_100 + 100
    assert all_pages(queue, JobFilter(states=["waiting"], job_type="other"), 10) == [last.id]
    by_field = queue.find(JobFilter(fields={"endpoint": "/none", "character_id": "1"}))
    assert by_field.jobs == []


def test_failures_of_one_cause_are_one_group_whatever_numbers_they_contain(
    queues: Queues, queue: Queue, broker: JobBroker, redis_client: redis.Redis
) -> None:
    add(queues, 5, broken="3 gaps")
    add(queues, 2, broken="missing")
    add(queues, 1, "other", broken="9 gaps")
    run_all(broker)
    page = queue.failures()
    found = {(f.job_type, f.error_class, f.message, f.frame.rsplit(":", 1)[-1]): f.count for f in page.failure_groups}
    assert found == {
        ("sync", "ValueError", "character <n> has <n> gaps", "sync"): 5,
        ("sync", "KeyError", "<n>", "sync"): 2,
        ("other", "ValueError", "character <n> has <n> gaps", "sync"): 1,
    }
    chosen = next(failure_group for failure_group in page.failure_groups if failure_group.count == 5)
    assert 0 < chosen.first_ms <= chosen.last_ms
    jobs = queue.find(JobFilter(fingerprint=chosen.fingerprint), limit=3)
    assert len(jobs.jobs) == 3
    assert len(all_pages(queue, JobFilter(fingerprint=chosen.fingerprint), 2)) == 5
    check_queue(redis_client, "nomad:{syncs}")
    # One runs again and the others are removed: the failure group is gone until that one fails again.
    queue.retry(jobs.jobs[0].id)
    for job_id in all_pages(queue, JobFilter(fingerprint=chosen.fingerprint), 2):
        queue.remove(job_id)
    assert chosen.fingerprint not in {failure_group.fingerprint for failure_group in queue.failures().failure_groups}
    run_all(broker)
    (failed_again,) = [
        failure_group
        for failure_group in queue.failures().failure_groups
        if failure_group.fingerprint == chosen.fingerprint
    ]
    assert failed_again.count == 1
    check_queue(redis_client, "nomad:{syncs}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("job 0f9b2c1e-8a5d-4c7b-9e1f-2d3c4b5a6978 is lost", "job 7d444840-9dc0-11d1-b245-5ffdce74fad2 is lost"),
        ("object at 0x7fde0cde49a0", "object at 0x7fde05aa6660"),
        ("digest 6bb970fb03ef29829f0c35519328df9ae5575df2", "digest 0037ce96d076bfd8d61f4c98f24b80e292645aaa"),
        ("took 1.25 s", "took 17 s"),
    ],
)
def test_details_of_single_jobs_do_not_change_the_fingerprint(one: str, other: str) -> None:
    assert normalised(one) == normalised(other) != one


def test_the_frame_of_a_failure_group_is_in_the_applications_code() -> None:
    def parse() -> None:
        json.loads("{")

    with pytest.raises(ValueError, match="property name") as raised:
        parse()
    assert own_frame(raised.value.__traceback__) == "queues/test_search.py:parse"


def test_retention_removes_terms_and_failure_groups_with_the_jobs(broker: JobBroker, redis_client: redis.Redis) -> None:
    from nomad_actors.settings import RetentionLimit

    settings = Settings(keep_completed=RetentionLimit(3, 3_600_000), keep_failed=RetentionLimit(2, 3_600_000))
    queues = Queues(broker, settings=settings, clock=SystemClock())
    queues.register(TYPES[0])
    add(queues, 40)
    add(queues, 40, broken="gaps")
    run_all(broker)
    add(queues, 3)
    run_all(broker)
    assert queues.get_queue("syncs").counts()["failed"] <= 2
    check_queue(redis_client, "nomad:{syncs}")
    assert redis_client.zcard("nomad:{syncs}:terms") <= (3 + 2) * 2 + 2


@pytest.mark.parametrize(
    ("job_filter", "cursor", "message"),
    [
        (JobFilter(fields={"mood": "bad"}), None, "cannot be found by field 'mood' .allowed: character_id, endpoint"),
        (JobFilter(fingerprint="xyz"), None, "fingerprint 'xyz' is invalid .allowed: 16 hexadecimal digits"),
        (JobFilter(), "rubbish!", "cursor 'rubbish!' is invalid"),
        (JobFilter(), WITHOUT_PLACE, "is invalid"),
        (
            JobFilter(fields={"character_id": "1"}),
            "WyJzIiwwLCIxIiwiIl0",
            "is invalid .allowed: a nextCursor of the same",
        ),
    ],
)
def test_an_impossible_search_is_refused(queue: Queue, job_filter: JobFilter, cursor: str | None, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        queue.find(job_filter, cursor=cursor)


def tampered(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 2_500,
        '["s","waiting","1_0",""]',
        '["s","waiting"," 10 ",""]',
        '["s","waiting","\u0663",""]',
        '["s","waiting","nan",""]',
        '["s","active","inf",""]',
        '["s","waiting",[1],""]',
        '["s","waiting","1","\u00e9"]',
    ],
)
def test_an_invalid_cursor_is_refused_before_it_reaches_redis(queue: Queue, text: str) -> None:
    for limit in (1, 1000):
        with pytest.raises(BadInput, match="is invalid"):
            queue.find(JobFilter(states=["waiting", "active"]), limit=limit, cursor=tampered(text))


@pytest.mark.parametrize("score", ['"x"', '"nan"', "null", "[1]", "{}", "1", '"1_0"', '""'])
def test_an_invalid_cursor_of_failures_is_refused(queue: Queue, score: str) -> None:
    with pytest.raises(BadInput, match="is invalid"):
        queue.failures(cursor=tampered(f'["f",{score},"AA"]'))


def test_running_jobs_are_paged_by_their_start_although_some_end_meanwhile(
    queues: Queues, queue: Queue, broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    go = [threading.Event() for _ in range(6)]
    broker.declare_queue("syncs", concurrency=6)

    def hold(character_id: int) -> None:
        go[character_id].wait(20)

    broker.actors["sync"].fn = hold
    add(queues, 6)
    with running(broker):
        wait_until(lambda: queue.counts()["active"] == 6)
        first = queue.find(JobFilter(states=["active"]), limit=2)
        for job in first.jobs:
            go[job.data["character_id"]].set()
        wait_until(lambda: queue.counts()["active"] == 4)
        second = queue.find(JobFilter(states=["active"]), limit=10, cursor=first.next_cursor)
        for each in go:
            each.set()
    shown = [job.data["character_id"] for page in (first, second) for job in page.jobs]
    assert sorted(shown) == list(range(6))


def test_a_field_that_is_named_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="field 'key' is named twice"):
        parse_fields(["key=1", "key=2"])


def test_only_failed_jobs_are_counted_by_a_fingerprint(queues: Queues, queue: Queue, broker: JobBroker) -> None:
    add(queues, 3, broken="gaps")
    run_all(broker)
    (failure_group,) = queue.failures().failure_groups
    assert queue.count(JobFilter(states=["waiting"], fingerprint=failure_group.fingerprint)) == (0, True)
    assert queue.count(JobFilter(states=["failed"], fingerprint=failure_group.fingerprint)) == (3, True)
    assert queue.count(JobFilter(fingerprint=failure_group.fingerprint)) == (3, True)


def test_an_unknown_state_is_refused_with_the_nearest(queue: Queue) -> None:
    with pytest.raises(UnknownState, match="waiting"):
        queue.find(JobFilter(states=["wating"]))
