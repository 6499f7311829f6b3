"""Details of the output: correct numbers, plurals, and advice that works."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from nomad_actors.app import QueueAccess
from nomad_actors.commands.explain import Explanation, explain
from nomad_actors.commands.options import confirm
from nomad_actors.errors import BadInput
from nomad_actors.logs.counted import counted, verb_for
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


def test_a_delayed_job_is_due_by_redis_clock_not_by_its_producers(nomad: Nomad, access: QueueAccess) -> None:
    message = access.broker.get_actor("order").message(item="rifter")
    an_hour_ago = message.copy(message_timestamp=int(time.time() * 1000) - 3_600_000)
    access.broker.enqueue(an_hour_ago, delay=600_000)
    output = nomad("job", message.message_id).stdout
    assert "due in 9m" in output or "due in 10m" in output
    assert "in 9m" in nomad("jobs", "shop").stdout or "in 10m" in nomad("jobs", "shop").stdout


def test_counts_of_whole_states_are_exact(order: Order, access: QueueAccess, working: Any) -> None:
    queue = access.queues.get_queue("shop")
    order(end="fail")
    with working():
        access.broker.join("shop", timeout=5000)
    queue.cancel(order(), "not needed")
    for state, count in (("failed", 2), ("completed", 0), ("waiting", 0)):
        assert queue.count(JobFilter(states=(state,))) == (count, True)


def test_the_help_of_an_undescribed_payload_does_not_quote_its_base(
    nomad: Nomad, access: QueueAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nomad_actors.commands.enqueue import _help

    job_type = JobType(
        name="plain", queue="shop", payload=Undescribed, result=Nothing, run=lambda _: Nothing(), attempts=1
    )
    help_text = _help(job_type)
    assert "The base of every job's data" not in help_text
    assert ", 1 attempt, " in help_text


def test_priorities_that_an_error_recommends_are_accepted(nomad: Nomad) -> None:
    for priority in Priority:
        for word in (priority.name, str(int(priority)), priority.name.lower()):
            assert nomad("enqueue", "order", "--item", "rifter", "--priority", word).exit_code == 0
    refused = nomad("enqueue", "order", "--item", "rifter", "--priority", "6")
    assert (refused.exit_code, "CRITICAL (1)" in refused.stderr) == (2, True)


@pytest.mark.parametrize("status", ["active", "bogus"])
def test_a_state_that_cannot_be_cleaned_is_refused_before_the_confirmation(nomad: Nomad, status: str) -> None:
    refused = nomad("clean", "shop", "--status", status)
    assert (refused.exit_code, "confirm with --yes" in refused.stderr) == (2, False)
    assert ", ".join(sorted(CLEANABLE)) in refused.stderr


def test_numbers_and_plurals_agree(nomad: Nomad, order: Order, access: QueueAccess) -> None:
    assert [counted(count, "job") for count in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
    assert [verb_for(count, "was", "were") for count in (0, 1, 2)] == ["were", "was", "were"]
    for count, waiting in enumerate(("0 jobs", "1 job", "2 jobs")):
        paused = f"shop is paused: {waiting} waiting, 0 jobs still running. Resume: nomad resume shop\n"
        assert nomad("pause", "shop").stdout == paused
        clean = nomad("clean", "shop", "--status", "paused", "--grace", "0s", "--yes").stdout
        assert clean == f"Removed {counted(count, 'paused job')} of shop.\n"
        for _ in range(count + 1):
            order()


@pytest.mark.parametrize(("cancelled", "message"), [(1, "1 failed job of shop was"), (2, "2 failed jobs of shop were")])
def test_plurals_agree_with_the_number_of_cancelled_jobs(
    nomad: Nomad, order: Order, access: QueueAccess, cancelled: int, message: str
) -> None:
    for _ in range(cancelled):
        access.queues.get_queue("shop").cancel(order(), "not needed")
    assert f"{message} cancelled. See why the others failed" in nomad("jobs", "shop").stderr
    assert nomad("retry", "--failed", "shop").stdout == f"Retried 0 jobs of shop, {cancelled} skipped.\n"


def test_a_confirmation_without_a_terminal_is_an_error(nomad: Nomad) -> None:
    with pytest.raises(BadInput) as refused:
        confirm("Discard 1 login of key k? Its player must log in again.", yes=False)
    question = "Discard 1 login of key k? Its player must log in again."
    assert str(refused.value) == f"{question} There is no terminal to ask on: confirm with --yes"


def test_a_running_job_shows_how_long_it_has_been_running(
    nomad: Nomad, order: Order, access: QueueAccess, working: Any, wait_until: Callable[..., None]
) -> None:
    job_id = order(end="hang")
    with working():
        wait_until(lambda: access.queues.get_queue("shop").counts()["active"])
        output = nomad("job", job_id).stdout
    assert re.search(r"it has been running for [0-9.]+m?s on ", output), output


@pytest.mark.parametrize("command", [("job",), ("retry",), ("cancel", "--reason", "enough"), ("remove", "--yes")])
def test_a_job_in_another_queue_is_found_and_named(nomad: Nomad, order: Order, command: tuple[str, ...]) -> None:
    job_id = order()
    refused = nomad(*command, job_id, "--queue", "esi-refresh")
    assert refused.exit_code == 3
    assert f"queue 'esi-refresh' has no job '{job_id}', but queue shop has it (--queue shop)" in refused.stderr
    refused = nomad(*command, "nobody", "--queue", "esi-refresh")
    assert "queue 'esi-refresh' has no job 'nobody': it was never added here, or it has been removed" in refused.stderr
    assert ") has a job 'nobody': it was never added here" in nomad(*command, "nobody").stderr


def test_a_job_that_is_about_to_start_is_explained_without_advice(
    order: Order, access: QueueAccess, working: Any
) -> None:
    queue = access.queues.get_queue("shop")
    waiting = queue.get(job_id := order())
    assert waiting is not None
    with working():
        access.broker.join("shop", timeout=5000)
        explanation = explain(access.clock, queue, waiting)
    assert explanation == Explanation(
        "it waits for its turn: threads are free, and workers are live", [f"nomad cancel {job_id} --reason …"]
    )


def test_cancelled_jobs_are_shown_separately_from_failed_ones(
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
    assert "shop: 1 cancelled job, not counted as failed" in shown
