"""Jobs by outcome, in one queue and over all queues, page by page, even among many cancelled ones."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
import redis

from nomad_actors import job_metrics
from nomad_actors.broker import JobBroker
from nomad_actors.broker.states import State
from nomad_actors.clock import SystemClock
from nomad_actors.errors import BadInput
from nomad_actors.queues import NewJob, Queues
from nomad_actors.queues.across_queues import jobs_of_all
from nomad_actors.queues.job import Job
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.queues.search import JobFilter
from nomad_actors.settings import Settings
from nomad_actors.testing import running

QUEUES = ("alpha", "beta", "gamma")
#: Closed while jobs should keep running.
gate = threading.Event()


class Try(Payload):
    number: int = 0
    fail: bool = True
    wait: bool = False


class Done(Result):
    pass


def attempt(payload: Try) -> Done:
    if payload.wait:
        gate.wait(20)
    if payload.fail:
        raise ValueError(f"number {payload.number}")
    return Done()


@pytest.fixture
def queues(broker: JobBroker) -> Queues:
    queues = Queues(broker, settings=Settings(), clock=SystemClock())
    for name in QUEUES:
        queues.register(
            JobType(
                name=f"try-{name}",
                queue=name,
                payload=Try,
                result=Done,
                run=attempt,
                attempts=1,
                concurrency=4,
                indexed=("number",),
            )
        )
    return queues


def add(queues: Queues, name: str, count: int, **data: object) -> list[str]:
    jobs = [NewJob(queue=name, job_type=f"try-{name}", data={"number": n, **data}) for n in range(count)]
    return [job.id for job in queues.add_jobs(jobs)]


def cancel_all(queues: Queues, name: str) -> None:
    queue = queues.get_queue(name)
    cursor = None
    while True:
        _, _, cursor = queue.act_on_page("cancel", JobFilter(states=("waiting",)), limit=1000, cursor=cursor)
        if cursor is None:
            return


def run_all(broker: JobBroker) -> None:
    with running(broker, threads=12):
        for name in QUEUES:
            broker.join(name, timeout=20_000)


def all_pages(queues: Queues, state: State, limit: int, between: Callable[[], None] = lambda: None) -> list[Job]:
    found: list[Job] = []
    cursor = None
    while True:
        page = jobs_of_all(
            queues, state, outcomes=("failed",) if state is State.FAILED else (), limit=limit, cursor=cursor
        )
        assert len(page.jobs) <= limit
        found += page.jobs
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor
        between()


def test_jobs_are_listed_by_outcome(queues: Queues, broker: JobBroker) -> None:
    queue = queues.get_queue("alpha")
    failed = add(queues, "alpha", 3)
    completed = add(queues, "alpha", 2, fail=False)
    run_all(broker)
    cancelled = add(queues, "alpha", 4)
    cancel_all(queues, "alpha")
    for outcomes, ids in (
        (("failed",), failed),
        (("cancelled",), cancelled),
        (("failed", "cancelled"), failed + cancelled),
        (("completed", "skipped"), completed),
        (("skipped",), []),
        (("completed", "failed"), completed + failed),
    ):
        job_filter = JobFilter(outcomes=outcomes)
        found = queue.find(job_filter, limit=100)
        assert {job.id for job in found.jobs} == set(ids), outcomes
        assert {job.outcome for job in found.jobs} <= set(outcomes)
        count, is_exact = queue.count(job_filter)
        assert count == len(ids) or (not is_exact and count > len(ids)), outcomes
        assert is_exact or outcomes in (("skipped",), ("completed", "failed"))
    assert queue.find(JobFilter(states=("waiting",), outcomes=("failed",))).jobs == []
    assert queue.count(JobFilter(states=("waiting",), outcomes=("failed",))) == (0, True)
    by_field = queue.find(JobFilter(outcomes=("failed",), fields={"number": "1"}))
    assert [job.id for job in by_field.jobs] == [failed[1]]
    with pytest.raises(
        BadInput, match="outcome 'lost' is invalid \\(allowed: completed, skipped, failed, cancelled\\)"
    ):
        queue.find(JobFilter(outcomes=("lost",)))


def test_failed_jobs_are_found_behind_thousands_of_cancelled_ones(
    queues: Queues, broker: JobBroker, redis_client: redis.Redis
) -> None:
    failed = add(queues, "alpha", 2)
    run_all(broker)
    add(queues, "alpha", 3_000)
    cancel_all(queues, "alpha")
    queues.get_queue("alpha").find(JobFilter(outcomes=("failed",)))
    redis_client.config_resetstat()
    page = queues.get_queue("alpha").find(JobFilter(outcomes=("failed",)), limit=50)
    assert {job.id for job in page.jobs} == set(failed)
    assert page.next_cursor is None
    calls = redis_client.info("commandstats")
    # The records of skipped jobs are not read.
    assert calls["cmdstat_hget"]["calls"] < 20
    assert {str(job["id"]) for job in job_metrics.get_failed_jobs(50, queues=queues)} == set(failed)
    assert len(job_metrics.get_failed_jobs(50, outcomes=("failed", "cancelled"), queues=queues)) == 50


def test_a_page_that_skipped_too_many_jobs_has_a_next_page(
    queues: Queues, broker: JobBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = add(queues, "beta", 1)
    run_all(broker)
    add(queues, "alpha", 3_000)
    cancel_all(queues, "alpha")
    young = add(queues, "gamma", 1)
    run_all(broker)
    monkeypatch.setattr("nomad_actors.broker.client.finder.MAX_SCANNED", 100)
    pages: list[int] = []
    found = all_pages(queues, State.FAILED, 10, between=lambda: pages.append(1))
    assert [job.id for job in found] == young + old
    assert len(pages) >= 2


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_failures_of_all_queues_are_listed_once_newest_first_while_others_are_added(
    queues: Queues, broker: JobBroker, redis_client: redis.Redis, limit: int
) -> None:
    draw = random.Random(limit)
    for name in QUEUES:
        add(queues, name, 8)
    run_all(broker)
    # Many jobs failed at one instant, in several queues and in one.
    at = {}
    for name in QUEUES:
        for member in redis_client.zrange(f"nomad:{{{name}}}:failed", 0, -1):
            at[name, member] = 1_793_491_200_000 + draw.randrange(5) + draw.choice([0, 0.25, 0.5])
            redis_client.zadd(f"nomad:{{{name}}}:failed", {member: at[name, member]})

    def fail_another() -> None:
        add(queues, "beta", 1)
        run_all(broker)

    found = all_pages(queues, State.FAILED, limit, between=fail_another if limit > 2 else lambda: None)
    assert len({job.id for job in found}) == len(found) == 24
    instants = {}
    for name in QUEUES:
        for job in queues.get_queue(name).jobs("failed"):
            instants[job.id] = redis_client.zscore(f"nomad:{{{name}}}:failed", bytes.fromhex(job.id.replace("-", "")))
    assert all(instants[a.id] >= instants[b.id] for a, b in pairwise(found))


def test_running_jobs_of_all_queues_are_listed_once_longest_first(
    queues: Queues, broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    gate.clear()
    with running(broker, threads=12):
        for number in range(3):
            for name in QUEUES:
                add(queues, name, 1, wait=True, fail=False)
            wait_until(
                lambda: sum(queues.get_queue(name).counts()["active"] for name in QUEUES) == 3 * (number + 1)  # noqa: B023
            )
        for limit in (1, 2, 4, 100):
            found = all_pages(queues, State.ACTIVE, limit)
            assert len({job.id for job in found}) == len(found) == 9
            assert all((a.processed_on_ms or 0) <= (b.processed_on_ms or 0) for a, b in pairwise(found))
        gate.set()


@pytest.mark.parametrize("cursor", ["x", "W10", "", "eyJhIjoxfQ"])
def test_an_invalid_cursor_is_refused(queues: Queues, broker: JobBroker, cursor: str) -> None:
    add(queues, "alpha", 3)
    run_all(broker)
    page = jobs_of_all(queues, State.FAILED, limit=1)
    with pytest.raises(BadInput, match="allowed: a nextCursor of the same list"):
        jobs_of_all(queues, State.FAILED, limit=1, cursor=cursor)
    with pytest.raises(BadInput, match="allowed: a nextCursor of the same list"):
        jobs_of_all(queues, State.ACTIVE, limit=1, cursor=page.next_cursor)
    own = queues.get_queue("alpha").find(JobFilter(states=("failed",)), limit=1)
    with pytest.raises(BadInput, match="allowed: a nextCursor of the same list"):
        jobs_of_all(queues, State.FAILED, limit=1, cursor=own.next_cursor)
