"""One action on many jobs: what is counted, asked, done, left alone, stopped and gone on with."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nomad_actors.app import QueueAccess
from nomad_actors.broker.records.holds import PauseScope
from nomad_actors.commands.session import who
from nomad_actors.queues.bulk import Operation, Operations
from tests.support.processes import program

from .conftest import Nomad

Told = Callable[..., Any]
Order = Callable[..., str]


def counts(access: QueueAccess) -> dict[str, int]:
    return {name: count for name, count in access.queues.get_queue("shop").counts().items() if count}


def kept(access: QueueAccess) -> Operation:
    """Return the one operation that is kept."""
    (operation,) = Operations(access.queues).all()
    return operation


def test_a_dry_run_counts_and_does_nothing(nomad: Nomad, told: Told, order: Order, access: QueueAccess) -> None:
    for _ in range(3):
        order()
    order(delay=60_000)
    for action, state, said in (
        ("remove", "waiting", "remove: 3 jobs of shop; nothing was done\n"),
        ("cancel", "waiting", "cancel: 3 jobs of shop; nothing was done\n"),
        ("promote", "delayed", "promote: 1 job of shop; nothing was done\n"),
    ):
        assert nomad("bulk", action, "shop", "--status", state, "--dry-run").stdout == said
    assert told("bulk", "remove", "shop", "-s", "waiting", "--dry-run") == {
        "dryRun": True,
        "queueName": "shop",
        "action": "remove",
        "count": 3,
        "isExact": True,
    }
    assert counts(access) == {"waiting": 3, "delayed": 1}
    assert Operations(access.queues).all() == []


@pytest.mark.parametrize("action", ["remove", "cancel"])
def test_without_a_terminal_nothing_is_done_unless_yes_is_said(
    nomad: Nomad, order: Order, access: QueueAccess, action: str
) -> None:
    order()
    refused = nomad("bulk", action, "shop", "--status", "waiting")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"{action.capitalize()} 1 job of shop? Without a terminal to ask at, this needs --yes" in refused.stderr
    assert counts(access) == {"waiting": 1}
    assert nomad("bulk", action, "shop", "--status", "waiting", "--yes").stdout == f"{action}: 1 job of shop\n"
    assert counts(access) == ({} if action == "remove" else {"failed": 1})


def test_it_is_for_those_that_fit_alone(nomad: Nomad, order: Order, access: QueueAccess) -> None:
    kept_id = order(item="slasher")
    for _ in range(2):
        order(item="rifter", count=3)
    order(item="rifter", count=4)
    assert nomad("bulk", "remove", "shop", "-s", "waiting", "-f", "item=rifter", "-f", "count=3", "-y").exit_code == 0
    assert counts(access) == {"waiting": 2}
    assert nomad("bulk", "remove", "shop", "-f", "item=rifter", "--type", "order", "-y").exit_code == 0
    assert [job.id for job in access.queues.get_queue("shop").jobs("waiting")] == [kept_id]


def test_what_is_not_older_is_left_alone(nomad: Nomad, told: Told, order: Order, access: QueueAccess) -> None:
    order()
    assert told("bulk", "remove", "shop", "-s", "waiting", "--older", "1h", "--yes")["done"] == 0
    assert counts(access) == {"waiting": 1}
    assert told("bulk", "remove", "shop", "-s", "waiting", "--older", "0s", "--yes")["done"] == 1
    assert nomad("bulk", "remove", "shop", "-s", "waiting", "--older", "old").exit_code == 2


def test_a_cancelled_job_keeps_why_and_by_whom(nomad: Nomad, told: Told, order: Order, access: QueueAccess) -> None:
    order()
    told("bulk", "cancel", "shop", "-s", "waiting", "--reason", "wrong users", "--yes")
    order()
    told("bulk", "cancel", "shop", "-s", "waiting", "--yes")
    me = who()
    reasons = [job.failed_reason for job in access.queues.get_queue("shop").jobs("failed")]
    assert reasons == [f"cancelled: cancelled by {me}", f"cancelled: wrong users (by {me})"]
    shown = nomad("jobs", "shop", "--status", "failed")
    assert [line.split()[1] for line in shown.stdout.splitlines()[1:]] == ["cancelled", "cancelled"]
    assert "2 failed jobs of shop were cancelled; why the others failed: nomad failures shop" in shown.stderr


def test_what_waits_in_a_paused_queue_waits_too(nomad: Nomad, told: Told, order: Order, access: QueueAccess) -> None:
    first = order()
    access.queues.get_queue("shop").pause(scope=PauseScope.ESI)
    assert [job["id"] for job in told("jobs", "shop", "--status", "waiting")["jobs"]] == [first]
    counted = nomad("bulk", "cancel", "shop", "--status", "waiting", "--dry-run").stdout
    assert counted == "cancel: 1 job of shop; nothing was done\n"
    order()
    assert nomad("clean", "shop", "-s", "waiting", "--grace", "0s", "-n", "1", "-y").exit_code == 0
    assert nomad("bulk", "remove", "shop", "--status", "waiting", "--yes").stdout == "remove: 1 job of shop\n"
    assert nomad("jobs", "shop").stdout == "no job of shop is active, waiting, paused, delayed or failed\n"
    assert nomad("jobs", "shop", "-s", "failed", "--since", "1h").stdout.endswith("and what else was asked for\n")


def test_what_it_cannot_be_done_to_is_wrong_usage(nomad: Nomad) -> None:
    for arguments, said in (
        (["remove", "shop"], "say which jobs to remove"),
        (["retry", "shop", "--status", "waiting"], "a job that is 'waiting' does not retry"),
        (["explode", "shop"], "action 'explode'"),
        (["remove", "shop", "-s", "waiting", "--per-second", "0", "--dry-run"], "perSecond 0"),
        (["remove", "shop", "-s", "waitng"], "'waitng'"),
    ):
        result = nomad("bulk", *arguments)
        assert (result.exit_code, result.stdout, said in result.stderr) == (2, "", True), result.output
    assert nomad("bulk", "remove", "shopp", "-s", "waiting").exit_code == 3


def test_an_operation_is_stopped_where_it_is_and_goes_on(
    nomad: Nomad, told: Told, order: Order, access: QueueAccess, environ: dict[str, str], tmp_path: Path
) -> None:
    for _ in range(40):
        order()
    arguments = ["bulk", "cancel", "shop", "-s", "waiting", "--per-second", "5", "--yes"]
    with program(["nomad_actors.cli", *arguments], environ, tmp_path) as process:
        deadline = time.monotonic() + 20
        while not (found := Operations(access.queues).all()) or not found[0].done:
            assert time.monotonic() < deadline, (tmp_path / "output.log").read_text()
            time.sleep(0.02)
        stopped = nomad("operations", "stop", "shop", kept(access).id)
        assert process.wait(timeout=20) == 1
    assert stopped.exit_code == 0
    operation = kept(access)
    assert operation.state == "stopped"
    assert 0 < operation.done < 40
    said = (tmp_path / "output.log").read_text()
    assert f"it goes on with: nomad operations resume shop {operation.id}" in said
    listed = nomad("operations", "list").stdout
    assert re.search(rf"^{operation.id} +shop +cancel +stopped +{operation.done}/40 ", listed, re.MULTILINE)
    assert nomad("operations", "stop", "shop", operation.id).exit_code == 4
    # Its pace is its own: as fast as it likes it would be too slow for a test.
    with program(["nomad_actors.cli", "operations", "resume", "shop", operation.id], environ, tmp_path) as process:
        while kept(access).done == operation.done and time.monotonic() < deadline + 20:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 1
    again = kept(access)
    assert (again.state, again.done > operation.done) == ("stopped", True)
    assert told("operations", "list")["operations"][0]["id"] == operation.id


def test_no_operation_is_listed_where_there_is_none(nomad: Nomad) -> None:
    assert nomad("operations", "list").stdout == "no bulk operation is kept\n"
    assert nomad("operations", "stop", "shop", "none").exit_code == 3


def test_failures_are_listed_by_cause_and_retried_by_it(
    nomad: Nomad, told: Told, order: Order, access: QueueAccess, working: Any
) -> None:
    assert nomad("failures", "shop").stdout == "no failed job is kept\n"
    for item in ("rifter", "rifter", "slasher"):
        order(end="fail", item=item)
    with working():
        access.broker.join("shop", timeout=5000)
    found = told("failures", "shop")["failures"]
    assert sorted((fault["count"], fault["message"]) for fault in found) == [
        (1, "no slasher in stock"),
        (2, "no rifter in stock"),
    ]
    shown = nomad("failures", "shop").stdout
    assert [line.split()[1] for line in shown.splitlines()[1:]] == [str(fault["count"]) for fault in found]
    assert "order: PermanentError: no rifter in stock" in shown
    (twice,) = (fault["fingerprint"] for fault in found if fault["count"] == 2)
    assert len(told("jobs", "shop", "--fingerprint", twice)["jobs"]) == 2
    one = told("failures", "shop", "--limit", "1")
    assert (len(one["failures"]), one["nextCursor"] is None) == (1, False)
    ended = json.loads(nomad("bulk", "retry", "shop", "--fingerprint", twice, "--yes", "--json").stdout)
    assert (ended["state"], ended["done"], counts(access)) == ("finished", 2, {"waiting": 2, "failed": 1})
