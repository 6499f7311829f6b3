"""Queues that do not move, each with the first reason that explains it; and jobs that nobody can run."""

from __future__ import annotations

from collections.abc import Callable

from dramatiq import Message

from nomad_actors.app import QueueAccess
from nomad_actors.doctor import Finding
from nomad_actors.testing import running

from .conftest import found_in

WaitUntil = Callable[..., None]


def add(access: QueueAccess, *, delay: int = 0, **data: object) -> str:
    return access.queues.add_job("shop", "order", {"item": "rifter", **data}, delay=delay).id


def shop_of(access: QueueAccess, **limits: float) -> Finding:
    return found_in(access, **limits)["queue shop"]


def test_without_a_worker_nothing_moves(access: QueueAccess) -> None:
    add(access)
    found = shop_of(access)
    assert (found.status, found.fix) == ("problem", "nomad run workers")
    assert found.found == "1 waiting, 0 active, 0 delayed; no live worker serves it"


def test_a_queue_that_moves_is_ok(access: QueueAccess, wait_until: WaitUntil) -> None:
    queue = access.queues.get_queue("shop")
    with running(access.broker, queues={"shop"}):
        wait_until(queue.workers)
        assert shop_of(access).status == "ok"
        add(access, end="hang")
        waiting = add(access)
        wait_until(lambda: queue.counts()["active"])
        # It waits, but not for long: the job before it has just started.
        assert shop_of(access, still_seconds=30).status == "ok"
        assert queue.get(waiting) is not None


def test_a_paused_queue_is_told_before_its_full_places(access: QueueAccess, wait_until: WaitUntil) -> None:
    queue = access.queues.get_queue("shop")
    with running(access.broker, queues={"shop"}):
        wait_until(queue.workers)
        running_id = add(access, end="hang")
        wait_until(lambda: queue.counts()["active"])
        add(access)
        found = shop_of(access)
        assert found.status == "warning"
        assert f"all 1 places are taken: {running_id} since 20" in found.found
        assert found.fix.startswith(f"nomad job {running_id} --queue shop")
        queue.pause()
        found = shop_of(access)
        assert (found.status, found.fix) == ("warning", "nomad resume shop")
        assert "paused since 20" in found.found


def test_a_limit_over_all_hosts_that_is_reached(access: QueueAccess, wait_until: WaitUntil) -> None:
    queue = access.queues.get_queue("shop")
    with running(access.broker, queues={"shop"}), running(access.broker, queues={"shop"}):
        wait_until(queue.workers)
        add(access, end="hang")
        wait_until(lambda: queue.counts()["active"])
        add(access)
    # More places than jobs may run: as with workers on two hosts.
    access.queues.declare("shop", concurrency=5)
    with running(access.broker, queues={"shop"}):
        access.broker.view("shop").set_limit(1)
        add(access, end="hang")
        wait_until(lambda: queue.counts()["active"])
        found = shop_of(access)
    assert "its limit of 1 jobs at a time over all hosts is reached" in found.found


def test_jobs_that_defer_themselves_tell_of_a_brake(access: QueueAccess, wait_until: WaitUntil) -> None:
    queue = access.queues.get_queue("shop")
    with running(access.broker, queues={"shop"}):
        add(access, end="defer")
        wait_until(lambda: queue.counts()["delayed"])
        found = shop_of(access)
        assert found.status == "warning"
        assert "a brake is in force: its next jobs deferred themselves (ESI is down)" in found.found
        add(access, delay=600_000)
        assert shop_of(access).status == "ok", "not every delayed job waits for the brake"


def test_what_nothing_explains_is_a_problem(access: QueueAccess, wait_until: WaitUntil) -> None:
    queue = access.queues.get_queue("shop")
    with running(access.broker, queues={"shop"}):
        wait_until(queue.workers)
        # No worker is told of it: an actor that this process does not know goes back.
        access.broker.enqueue(Message("shop", "gone-type", (), {}, {}))
        wait_until(lambda: "gone-type" in {job.name for job in queue.jobs("waiting")})
        found = found_in(access)
        assert found["queue shop"].status == "problem"
        assert "nothing known holds it back" in found["queue shop"].found
        assert found["job types"].status == "problem"
        assert (
            "waiting jobs of shop are of job types that this code does not know: 1 gone-type"
            in found["job types"].found
        )


def test_known_job_types_are_ok(access: QueueAccess) -> None:
    add(access)
    assert found_in(access)["job types"].status == "ok"
