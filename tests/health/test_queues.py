"""Queues that are not moving, each with the first reason that applies, and jobs that no worker can run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import dramatiq
import pytest
import sqlalchemy as sa
from dramatiq import Message

from nomad_actors import thresholds
from nomad_actors.app import QueueAccess
from nomad_actors.broker import JobBroker
from nomad_actors.broker.records.limits import Limits, PauseScope
from nomad_actors.health import Finding, Severity
from nomad_actors.health.queue_checks import held_back, why_still
from nomad_actors.store.database import Database
from nomad_actors.testing import WorkerProcess, running
from nomad_actors.thresholds import Thresholds
from nomad_actors.version import __version__
from tests.support.processes import ROOT

from .conftest import found_in, report_of

WaitUntil = Callable[..., None]
Working = Callable[[], AbstractContextManager[None]]


def add(access: QueueAccess, *, delay: int = 0, **data: object) -> str:
    return access.queues.add_job("shop", "order", {"item": "rifter", **data}, delay=delay).id


def shop_of(access: QueueAccess, **limits: float) -> Finding:
    return found_in(access, **limits)["queue shop"]


def test_without_a_worker_nothing_moves(access: QueueAccess) -> None:
    add(access)
    found = found_in(access)["workers"]
    assert (found.severity, found.remedy) == ("problem", "nomad run workers")
    queues = access.queues.names()
    assert found.cause == f"no live worker serves any of the {len(queues)} queues (1 waiting, 0 active, 0 delayed)"
    assert set(found.subjects) == set(queues)


def test_queues_with_and_without_a_worker(access: QueueAccess, working: Working) -> None:
    with working():
        found = [each for each in report_of(access).findings if each.name.startswith("workers")]
    assert {each.subject for each in found} == set(access.queues.names()) - {"shop"}
    assert {each.cause for each in found} == {"no live worker serves it (0 waiting, 0 active, 0 delayed)"}


def test_the_cause_that_keeps_workers_from_starting_comes_before_the_command(access: QueueAccess) -> None:
    database = Database(access.settings.database_url)
    database.migrate()
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    first, command = found_in(access)["workers"].remedy.splitlines()
    assert ("finding `database`" in first, command) == (True, "nomad run workers")
    database.close()


def test_a_queue_that_moves_is_ok(access: QueueAccess, working: Working, wait_until: WaitUntil) -> None:
    queue = access.queues.get_queue("shop")
    with working():
        assert shop_of(access).severity == "ok"
        add(access, end="hang")
        waiting = add(access)
        wait_until(lambda: queue.counts()["active"])
        # It waits, but not for long: the job before it has just started.
        assert shop_of(access, not_moving_seconds=30).severity == "ok"
        assert queue.get(waiting) is not None


def test_a_pause_is_reported_even_if_nothing_is_due_or_no_worker_is_live(access: QueueAccess, working: Working) -> None:
    queue = access.queues.get_queue("shop")
    queue.pause(reason="stock-taking")
    assert found_in(access)["workers"].remedy == "nomad run workers"
    assert "paused since 20" in shop_of(access).cause
    with working():
        found = shop_of(access, not_moving_seconds=30)
    assert (found.severity, found.remedy) == ("warning", "nomad resume shop")
    assert "(stock-taking), until it is resumed" in found.cause


def test_a_pause_is_reported_rather_than_busy_threads(
    access: QueueAccess, working: Working, wait_until: WaitUntil
) -> None:
    queue = access.queues.get_queue("shop")
    with working():
        running_id = add(access, end="hang")
        wait_until(lambda: queue.counts()["active"])
        add(access)
        found = shop_of(access)
        assert found.severity == "warning"
        assert f"all 1 threads are busy: {running_id} since 20" in found.cause
        assert found.remedy.startswith(f"nomad job {running_id} --queue shop")
        queue.pause()
        found = shop_of(access)
        assert (found.severity, found.remedy) == ("warning", "nomad resume shop")
        assert "paused since 20" in found.cause
        queue.pause(scope=PauseScope.ESI, reason="downtime", by="joe")
        found = shop_of(access)
        assert "paused with all ESI queues since 20" in found.cause
        assert found.remedy == "nomad resume shop && nomad resume --esi"
        queue.resume()
        assert shop_of(access).remedy == "nomad resume --esi"


def test_a_reached_limit_on_all_hosts(access: QueueAccess, working: Working, wait_until: WaitUntil) -> None:
    queue = access.queues.get_queue("shop")
    access.queues.declare("shop", concurrency=5)
    with working():
        queue.set_limits(Limits(concurrency=1))
        add(access, end="hang")
        wait_until(lambda: queue.counts()["active"])
        add(access)
        found = shop_of(access)
        assert (found.severity, found.remedy) == (
            "warning",
            "nomad limits shop --concurrency none\nto run more at a time",
        )
        assert "its limit of 1 job at a time on all hosts, set by an operator, is reached" in found.cause


def test_a_reached_limit_of_starts(access: QueueAccess, working: Working, wait_until: WaitUntil) -> None:
    queue = access.queues.get_queue("shop")
    with working():
        queue.set_limits(Limits(starts=1, period_ms=60_000))
        first = add(access)
        wait_until(lambda: (job := queue.get(first)) and job.status == "completed")
        add(access)
        still = why_still(queue.snapshot(), [])
    assert still is not None
    assert still.severity is Severity.WARNING
    assert still.remedy.splitlines()[0] == "nomad limits shop --starts none"
    assert "its limit of 1 starts in 60 s is reached until 20" in still.cause


def test_workers_report_their_release(access: QueueAccess, working: Working) -> None:
    with working():
        (worker,) = access.queues.get_queue("shop").snapshot().workers
        assert worker.name.endswith(f"@{__version__}")
        assert found_in(access)["releases"].severity == "ok"


def test_jobs_that_defer_themselves_indicate_a_brake(
    access: QueueAccess, working: Working, wait_until: WaitUntil
) -> None:
    queue = access.queues.get_queue("shop")
    with working():
        add(access, end="defer")
        wait_until(lambda: queue.counts()["delayed"])
        found = shop_of(access)
        assert found.severity == "warning"
        assert "a brake is active: its next jobs deferred themselves (ESI is down)" in found.cause
        add(access, delay=600_000)
        assert shop_of(access).severity == "ok", "not every delayed job waits for the brake"


def test_a_delayed_job_that_is_due_and_does_not_start_is_work_too(
    access: QueueAccess, working: Working, wait_until: WaitUntil
) -> None:
    queue = access.queues.get_queue("shop")
    with working():
        add(access, end="hang")
        wait_until(lambda: queue.counts()["active"])
        add(access, delay=1)
        found = shop_of(access)
        # While its only thread is busy, the worker does not fetch due jobs.
        assert (queue.counts()["waiting"], queue.counts()["delayed"]) == (0, 1)
    assert (found.severity, "all 1 threads are busy" in found.cause) == ("warning", True)


def test_a_job_type_that_live_workers_do_not_know_is_a_problem_and_no_brake(
    access: QueueAccess, redis_url: str, wait_until: WaitUntil
) -> None:
    queue = access.queues.get_queue("shop")
    old = JobBroker(url=redis_url)
    old.declare_queue("shop")
    with running(old, queues={"shop"}):
        for _ in range(2):
            add(access)
        wait_until(lambda: queue.counts()["delayed"] == 2, what="the worker to put them off")
        every = found_in(access)
        (worker,) = queue.snapshot().workers
    old.close()
    found = every["worker job types shop"]
    assert found.severity == "problem"
    assert f"did not know the job type of 2 order (live workers: {worker.name})" in found.cause
    assert "they are deferred and fail after 10 minutes, the first at " in found.cause
    assert "NOMAD_MODULES" in found.remedy
    assert every["queue shop"].severity == "ok"
    # By a worker that knows them they are put off as any other.
    (job, _) = queue.jobs("delayed")
    assert job.unknown_since_ms is not None


def test_a_job_that_defers_itself_is_recognised_however_it_started(
    access: QueueAccess, redis_url: str, working: Working, wait_until: WaitUntil
) -> None:
    queue = access.queues.get_queue("shop")
    old = JobBroker(url=redis_url)
    old.declare_queue("shop")
    with running(old, queues={"shop"}):
        job_id = add(access, end="defer")
        wait_until(lambda: queue.counts()["delayed"])
    old.close()
    with working():
        queue.promote(job_id)
        wait_until(lambda: (job := queue.get(job_id)) and job.timeline[-1].get("reason") == "ESI is down")
        every = found_in(access)
    assert "a brake is active" in every["queue shop"].cause
    assert every["job types"].severity == "ok"


def test_a_brake_is_reported_besides_jobs_of_an_unknown_type(
    access: QueueAccess, redis_url: str, working: Working, wait_until: WaitUntil
) -> None:
    queue = access.queues.get_queue("shop")
    with working():
        add(access, end="defer")
        wait_until(lambda: queue.counts()["delayed"] == 1)
    old = JobBroker(url=redis_url)
    old.declare_queue("shop")
    with running(old, queues={"shop"}):
        add(access)
        wait_until(lambda: queue.counts()["delayed"] == 2)
    old.close()
    assert held_back(queue.jobs("delayed")) == "ESI is down"


def test_the_doctor_reports_what_health_calls_unhealthy(
    access: QueueAccess, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found_in(access)["health"].severity == "ok"
    monkeypatch.setattr(thresholds, "DEFAULT", Thresholds(failure_least_ended=2, waiting_jobs=0))
    with working():
        for _ in range(2):
            add(access, end="fail")
        access.broker.join("shop", timeout=5000)
        access.queues.get_queue("shop").set_limits(Limits(starts=1, period_ms=3_600_000))
        findings = [found for found in report_of(access).findings if found.name == "health shop"]
    assert [found.severity for found in findings] == ["problem"]
    assert findings[0].cause.startswith("2 of 2 jobs failed in the last 60 minutes")
    assert findings[0].remedy.startswith("nomad failures shop\n")
    add(access)
    waiting = [found for found in report_of(access).findings if found.name == "health shop"][1]
    assert waiting.cause == "1 job waiting, more than 0"


def test_a_queue_that_is_not_moving_for_no_known_reason_is_a_problem(
    access: QueueAccess,
    environ: dict[str, str],
    nomad_worker_process: Callable[..., WorkerProcess],
    wait_until: WaitUntil,
) -> None:
    worker = nomad_worker_process("nomad_actors.app:worker_broker", environ=environ, directory=ROOT)
    wait_until(lambda: access.queues.get_queue("shop").snapshot().workers, what=worker.output())
    worker.freeze()
    add(access)
    found = shop_of(access)
    assert found.severity == "problem"
    assert "for no known reason" in found.cause


def test_jobs_of_an_unknown_type(access: QueueAccess, working: Working, wait_until: WaitUntil) -> None:
    add(access)
    assert found_in(access)["job types"].severity == "ok"
    access.broker.enqueue(Message("shop", "gone-type", (), {}, {}))
    found = found_in(access)["job types shop"]
    assert (found.severity, "1 gone-type waiting" in found.cause) == ("problem", True)
    with working():
        wait_until(lambda: access.queues.get_queue("shop").counts()["delayed"], what="the worker to put it off")
        every = found_in(access)
    assert "1 gone-type delayed" in every["job types shop"].cause
    assert every["queue shop"].severity == "ok", "it is no brake"
    access.broker.enqueue(Message("shop", "gone-type", (), {}, {}))
    access.queues.get_queue("shop").pause()
    both = found_in(access)["job types shop"]
    assert "1 gone-type paused, 1 gone-type delayed" in both.cause
    assert both.remedy.startswith("nomad jobs shop --status paused,delayed\n")


def test_only_failed_jobs_of_an_unknown_type_are_a_warning(
    access: QueueAccess, redis_url: str, wait_until: WaitUntil
) -> None:
    newer = JobBroker(url=redis_url)

    @dramatiq.actor(broker=newer, queue_name="shop", actor_name="gone-type", max_retries=0)
    def gone() -> None:
        raise ValueError("no")

    with running(newer, queues={"shop"}):
        gone.send()
        wait_until(lambda: access.queues.get_queue("shop").counts()["failed"])
    newer.close()
    found = found_in(access)["job types shop"]
    assert (found.severity, "1 gone-type failed" in found.cause) == ("warning", True)
