"""Bulk operations: counting, confirming, skipping, stopping and resuming."""

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
from nomad_actors.broker.records.limits import PauseScope
from nomad_actors.broker.states import in_words
from nomad_actors.commands.bulk import _PAST_TENSE
from nomad_actors.commands.session import who
from nomad_actors.queues.bulk import ACTIONS, Operation, Operations
from tests.support.processes import program

from .conftest import Nomad

NomadJson = Callable[..., Any]
PAST_TENSE = {"remove": "Removed", "cancel": "Cancelled"}
Order = Callable[..., str]


def counts(access: QueueAccess) -> dict[str, int]:
    return {name: count for name, count in access.queues.get_queue("shop").counts().items() if count}


def only_operation(access: QueueAccess) -> Operation:
    """Return the only stored operation."""
    (operation,) = Operations(access.queues).all()
    return operation


def test_the_command_knows_every_action(nomad: Nomad) -> None:
    assert set(_PAST_TENSE) == set(ACTIONS)
    shown = " ".join(nomad("bulk", "--help").stdout.split())
    assert f"{in_words(ACTIONS)}. [required]" in shown
    assert f"{in_words(ACTIONS).capitalize()} many jobs" in shown


def test_a_dry_run_only_counts(nomad: Nomad, nomad_json: NomadJson, order: Order, access: QueueAccess) -> None:
    for _ in range(3):
        order()
    order(delay=60_000)
    for action, state, output in (
        ("remove", "waiting", "Dry run: remove 3 jobs of shop. Nothing was done.\n"),
        ("cancel", "waiting", "Dry run: cancel 3 jobs of shop. Nothing was done.\n"),
        ("promote", "delayed", "Dry run: promote 1 job of shop. Nothing was done.\n"),
    ):
        assert nomad("bulk", action, "shop", "--status", state, "--dry-run").stdout == output
    assert nomad_json("bulk", "remove", "shop", "-s", "waiting", "--dry-run") == {
        "dryRun": True,
        "queueName": "shop",
        "action": "remove",
        "count": 3,
        "isExact": True,
    }
    assert counts(access) == {"waiting": 3, "delayed": 1}
    assert Operations(access.queues).all() == []


@pytest.mark.parametrize("action", ["remove", "cancel"])
def test_without_a_terminal_nothing_is_done_unless_yes_is_given(
    nomad: Nomad, order: Order, access: QueueAccess, action: str
) -> None:
    order()
    refused = nomad("bulk", action, "shop", "--status", "waiting")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"{action.capitalize()} 1 job of shop? There is no terminal to ask on: confirm with --yes" in refused.stderr
    assert counts(access) == {"waiting": 1}
    confirmed = nomad("bulk", action, "shop", "--status", "waiting", "--yes")
    assert confirmed.stdout == f"{PAST_TENSE[action]} 1 job of shop.\n"
    assert counts(access) == ({} if action == "remove" else {"failed": 1})


def test_only_matching_jobs_are_changed(nomad: Nomad, order: Order, access: QueueAccess) -> None:
    kept_id = order(item="slasher")
    for _ in range(2):
        order(item="rifter", count=3)
    order(item="rifter", count=4)
    assert nomad("bulk", "remove", "shop", "-s", "waiting", "-f", "item=rifter", "-f", "count=3", "-y").exit_code == 0
    assert counts(access) == {"waiting": 2}
    assert nomad("bulk", "remove", "shop", "-f", "item=rifter", "--type", "order", "-y").exit_code == 0
    assert [job.id for job in access.queues.get_queue("shop").jobs("waiting")] == [kept_id]


def test_younger_jobs_are_not_changed(nomad: Nomad, nomad_json: NomadJson, order: Order, access: QueueAccess) -> None:
    order()
    assert nomad_json("bulk", "remove", "shop", "-s", "waiting", "--older", "1h", "--yes")["done"] == 0
    assert counts(access) == {"waiting": 1}
    assert nomad_json("bulk", "remove", "shop", "-s", "waiting", "--older", "0s", "--yes")["done"] == 1
    assert nomad("bulk", "remove", "shop", "-s", "waiting", "--older", "old").exit_code == 2


def test_a_cancelled_job_stores_the_reason_and_the_user(
    nomad: Nomad, nomad_json: NomadJson, order: Order, access: QueueAccess
) -> None:
    order()
    nomad_json("bulk", "cancel", "shop", "-s", "waiting", "--reason", "wrong users", "--yes")
    order()
    nomad_json("bulk", "cancel", "shop", "-s", "waiting", "--yes")
    me = who()
    reasons = [job.failed_reason for job in access.queues.get_queue("shop").jobs("failed")]
    assert reasons == [f"cancelled: cancelled by {me}", f"cancelled: wrong users (by {me})"]
    shown = nomad("jobs", "shop", "--status", "failed")
    assert [line.split()[1] for line in shown.stdout.splitlines()[1:]] == ["cancelled", "cancelled"]
    assert "2 failed jobs of shop were cancelled. See why the others failed: nomad failures shop" in shown.stderr


def test_waiting_includes_jobs_of_a_paused_queue(
    nomad: Nomad, nomad_json: NomadJson, order: Order, access: QueueAccess
) -> None:
    first = order()
    access.queues.get_queue("shop").pause(scope=PauseScope.ESI)
    assert [job["id"] for job in nomad_json("jobs", "shop", "--status", "waiting")["jobs"]] == [first]
    output = nomad("bulk", "cancel", "shop", "--status", "waiting", "--dry-run").stdout
    assert output == "Dry run: cancel 1 job of shop. Nothing was done.\n"
    order()
    assert nomad("clean", "shop", "-s", "waiting", "--grace", "0s", "-n", "1", "-y").exit_code == 0
    assert nomad("bulk", "remove", "shop", "--status", "waiting", "--yes").stdout == "Removed 1 job of shop.\n"
    assert nomad("jobs", "shop").stdout == "Queue shop has no active, waiting, paused, delayed or failed job.\n"
    assert nomad("jobs", "shop", "-s", "failed", "--since", "1h").stdout.endswith("job that matches the filters.\n")


def test_an_invalid_request_is_wrong_usage(nomad: Nomad) -> None:
    for arguments, message in (
        (["remove", "shop"], "nothing selects the jobs to remove"),
        (["retry", "shop", "--status", "waiting"], "retry does not take jobs that are 'waiting'"),
        (["explode", "shop"], "action 'explode'"),
        (["remove", "shop", "-s", "waiting", "--per-second", "0", "--dry-run"], "perSecond 0"),
        (["remove", "shop", "-s", "waitng"], "'waitng'"),
    ):
        result = nomad("bulk", *arguments)
        assert (result.exit_code, result.stdout, message in result.stderr) == (2, "", True), result.output
    assert nomad("bulk", "remove", "shopp", "-s", "waiting").exit_code == 3


def test_a_stopped_operation_can_be_resumed(
    nomad: Nomad, nomad_json: NomadJson, order: Order, access: QueueAccess, environ: dict[str, str], tmp_path: Path
) -> None:
    for _ in range(40):
        order()
    arguments = ["bulk", "cancel", "shop", "-s", "waiting", "--per-second", "5", "--yes"]
    with program(["nomad_actors.cli", *arguments], environ, tmp_path) as process:
        deadline = time.monotonic() + 20
        while not (found := Operations(access.queues).all()) or not found[0].done:
            assert time.monotonic() < deadline, (tmp_path / "output.log").read_text()
            time.sleep(0.02)
        stopped = nomad("operations", "stop", "shop", only_operation(access).id)
        assert process.wait(timeout=20) == 1
    assert stopped.exit_code == 0
    operation = only_operation(access)
    assert operation.state == "stopped"
    assert 0 < operation.done < 40
    output = (tmp_path / "output.log").read_text()
    assert f"Resume: nomad operations resume shop {operation.id}" in output
    listed = nomad("operations", "list").stdout
    assert re.search(rf"^{operation.id} +shop +cancel +stopped +{operation.done}/40 ", listed, re.MULTILINE)
    assert nomad("operations", "stop", "shop", operation.id).exit_code == 4
    # It keeps its rate, which is too slow for this test to wait for its end.
    with program(["nomad_actors.cli", "operations", "resume", "shop", operation.id], environ, tmp_path) as process:
        while only_operation(access).done == operation.done and time.monotonic() < deadline + 20:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 1
    resumed = only_operation(access)
    assert (resumed.state, resumed.done > operation.done) == ("stopped", True)
    assert nomad_json("operations", "list")["operations"][0]["id"] == operation.id


def test_an_empty_list_of_operations(nomad: Nomad) -> None:
    assert nomad("operations", "list").stdout == "There are no bulk operations.\n"
    assert nomad("operations", "stop", "shop", "none").exit_code == 3


def test_failures_are_listed_and_retried_by_group(
    nomad: Nomad, nomad_json: NomadJson, order: Order, access: QueueAccess, working: Any
) -> None:
    assert nomad("failures", "shop").stdout == "Queue shop has no failed job.\n"
    for item in ("rifter", "rifter", "slasher"):
        order(end="fail", item=item)
    with working():
        access.broker.join("shop", timeout=5000)
    found = nomad_json("failures", "shop")["failures"]
    assert sorted((group["count"], group["message"]) for group in found) == [
        (1, "no slasher in stock"),
        (2, "no rifter in stock"),
    ]
    shown = nomad("failures", "shop").stdout
    assert [line.split()[1] for line in shown.splitlines()[1:]] == [str(group["count"]) for group in found]
    assert "order: PermanentError: no rifter in stock" in shown
    (twice,) = (group["fingerprint"] for group in found if group["count"] == 2)
    assert len(nomad_json("jobs", "shop", "--fingerprint", twice)["jobs"]) == 2
    one = nomad_json("failures", "shop", "--limit", "1")
    assert (len(one["failures"]), one["nextCursor"] is None) == (1, False)
    ended = json.loads(nomad("bulk", "retry", "shop", "--fingerprint", twice, "--yes", "--json").stdout)
    assert (ended["state"], ended["done"], counts(access)) == ("finished", 2, {"waiting": 2, "failed": 1})
