"""Small things that a reader trips over: wrong numbers, other people's words, advice that is then refused."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from nomad_actors.app import QueueAccess
from nomad_actors.commands.explain import Why, explain
from nomad_actors.commands.options import confirm
from nomad_actors.commands.session import patient
from nomad_actors.errors import BadInput
from nomad_actors.logs.counted import agreeing, counted
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.queues.policy import Priority
from nomad_actors.queues.queue import CLEANABLE
from nomad_actors.queues.search import JobFilter

from .conftest import Nomad

Order = Callable[..., str]


class Undescribed(Payload):
    item: str = ""


class Nothing(Result):
    pass


def test_a_delayed_job_is_due_by_redis_clock_whatever_its_producers_says(nomad: Nomad, access: QueueAccess) -> None:
    message = access.broker.get_actor("order").message(item="rifter")
    an_hour_ago = message.copy(message_timestamp=int(time.time() * 1000) - 3_600_000)
    access.broker.enqueue(an_hour_ago, delay=600_000)
    said = nomad("job", message.message_id).stdout
    assert "due in 9m" in said or "due in 10m" in said
    assert "in 9m" in nomad("jobs", "shop").stdout or "in 10m" in nomad("jobs", "shop").stdout


def test_counts_of_whole_states_are_exact(order: Order, access: QueueAccess, working: Any) -> None:
    queue = access.queues.get_queue("shop")
    order(end="fail")
    with working():
        access.broker.join("shop", timeout=5000)
    queue.cancel(order(), "not needed")
    for state, count in (("failed", 2), ("completed", 0), ("waiting", 0)):
        assert queue.count(JobFilter(states=(state,))) == (count, True)


def test_the_help_of_a_payload_without_words_of_its_own_has_none_of_its_base(
    nomad: Nomad, access: QueueAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nomad_actors.commands.enqueue import _help

    job_type = JobType(
        name="plain", queue="shop", payload=Undescribed, result=Nothing, run=lambda _: Nothing(), attempts=1
    )
    said = _help(job_type)
    assert "The base of every job's data" not in said
    assert ", 1 attempt, " in said


def test_what_an_error_recommends_is_taken(nomad: Nomad) -> None:
    for priority in Priority:
        for word in (priority.name, str(int(priority)), priority.name.lower()):
            assert nomad("enqueue", "order", "--item", "rifter", "--priority", word).exit_code == 0
    refused = nomad("enqueue", "order", "--item", "rifter", "--priority", "6")
    assert (refused.exit_code, "CRITICAL (1)" in refused.stderr) == (2, True)


@pytest.mark.parametrize("status", ["active", "bogus"])
def test_what_cannot_be_cleaned_is_refused_before_anybody_is_asked(nomad: Nomad, status: str) -> None:
    refused = nomad("clean", "shop", "--status", status)
    assert (refused.exit_code, "needs --yes" in refused.stderr) == (2, False)
    assert ", ".join(sorted(CLEANABLE)) in refused.stderr


def test_numbers_and_their_words_agree(nomad: Nomad, order: Order, access: QueueAccess) -> None:
    assert [counted(count, "job") for count in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
    assert [agreeing(count, "was", "were") for count in (0, 1, 2)] == ["were", "was", "were"]
    for count, waiting in enumerate(("0 jobs", "1 job", "2 jobs")):
        paused = f"shop is paused: {waiting} waiting, 0 jobs still running; resume it: nomad resume shop\n"
        assert nomad("pause", "shop").stdout == paused
        clean = nomad("clean", "shop", "--status", "paused", "--grace", "0s", "--yes").stdout
        assert clean == f"removed {counted(count, 'paused job')} of shop\n"
        for _ in range(count + 1):
            order()


@pytest.mark.parametrize(("cancelled", "said"), [(1, "1 failed job of shop was"), (2, "2 failed jobs of shop were")])
def test_cancelled_jobs_are_counted_in_words_that_agree(
    nomad: Nomad, order: Order, access: QueueAccess, cancelled: int, said: str
) -> None:
    for _ in range(cancelled):
        access.queues.get_queue("shop").cancel(order(), "not needed")
    assert f"{said} cancelled; why the others failed" in nomad("jobs", "shop").stderr
    left = {1: "1 was left alone", 2: "2 were left alone"}[cancelled]
    assert nomad("retry", "--failed", "shop").stdout == f"retry: 0 jobs of shop; {left}\n"


def test_a_question_that_nobody_can_answer_is_whole_and_says_what_is_needed(nomad: Nomad) -> None:
    with pytest.raises(BadInput) as refused:
        confirm("Give up 1 login of key k? Its player must log in again.", yes=False)
    said = "Give up 1 login of key k? Its player must log in again. Without a terminal to ask at, this needs --yes"
    assert str(refused.value) == said


def test_a_running_job_says_how_long_it_has_run(
    nomad: Nomad, order: Order, access: QueueAccess, working: Any, wait_until: Callable[..., None]
) -> None:
    job_id = order(end="hang")
    with working():
        wait_until(lambda: access.queues.get_queue("shop").counts()["active"])
        said = nomad("job", job_id).stdout
    assert re.search(r"it has run for [0-9.]+m?s on ", said), said


@pytest.mark.parametrize("command", [("job",), ("retry",), ("cancel", "--reason", "enough"), ("remove", "--yes")])
def test_a_queue_without_the_job_is_told_from_the_queue_that_holds_it(
    nomad: Nomad, order: Order, command: tuple[str, ...]
) -> None:
    job_id = order()
    refused = nomad(*command, job_id, "--queue", "esi-refresh")
    assert refused.exit_code == 3
    assert f"queue 'esi-refresh' holds no job '{job_id}', but shop does (--queue shop)" in refused.stderr
    refused = nomad(*command, "nobody", "--queue", "esi-refresh")
    assert "queue 'esi-refresh' holds no job 'nobody': it was never added here, or was removed" in refused.stderr
    assert ") holds a job 'nobody': it was never added here" in nomad(*command, "nobody").stderr


def test_a_job_that_is_about_to_start_does_not_recommend_the_command_that_says_so(
    order: Order, access: QueueAccess, working: Any
) -> None:
    queue = access.queues.get_queue("shop")
    waiting = queue.get(job_id := order())
    assert waiting is not None
    with working():
        access.broker.join("shop", timeout=5000)
        why = explain(patient(access), queue, waiting)
    assert why == Why("it waits for its turn: places are free, workers live", [f"nomad cancel {job_id} --reason …"])


def test_a_cancelled_job_is_told_beside_the_failed_ones(
    nomad: Nomad, order: Order, access: QueueAccess, working: Any
) -> None:
    queue = access.queues.get_queue("shop")
    order(end="fail")
    with working():
        access.broker.join("shop", timeout=5000)
    assert "cancelled" not in nomad("queues").stdout
    queue.cancel(order(), "not needed")
    assert queue.counts()["failed"] == 2
    shown = nomad("queues").stdout.splitlines()
    (row,) = [line.split() for line in shown if line.startswith("shop ")]
    assert row[shown[0].split().index("FAILED")] == "1"
    assert "shop: 1 cancelled job not counted as failed" in shown
