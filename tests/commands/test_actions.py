"""Actions on jobs and queues, and the confirmation before destructive ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nomad_actors.app import QueueAccess
from nomad_actors.commands.session import who

from .conftest import Nomad

Order = Callable[..., str]


def test_a_failed_job_is_retried_and_a_waiting_one_is_not(
    nomad: Nomad, order: Order, access: QueueAccess, working: Any
) -> None:
    job_id = order(end="fail")
    with working():
        access.broker.join("shop", timeout=5000)
    assert nomad("retry", job_id).exit_code == 0
    assert access.queues.get_queue("shop").counts()["waiting"] == 1
    repeated = nomad("retry", job_id)
    assert (repeated.exit_code, repeated.stdout) == (4, "")
    assert "is waiting; only a job that is failed or completed can be retried" in repeated.stderr


def test_every_failed_job_is_retried_except_cancelled_ones(
    nomad: Nomad, order: Order, access: QueueAccess, working: Any
) -> None:
    for _ in range(3):
        order(end="fail")
    with working():
        access.broker.join("shop", timeout=5000)
    cancelled = order()
    assert nomad("cancel", cancelled, "--reason", "wrong character").exit_code == 0
    found = access.queues.get_queue("shop").get(cancelled)
    assert found is not None
    assert found.failed_reason == f"cancelled: wrong character (by {who()})"
    assert nomad("retry", "--failed", "shop").stdout == "Retried 3 jobs of shop, 1 skipped.\n"
    assert access.queues.get_queue("shop").counts()["failed"] == 1
    assert nomad("retry").exit_code == 2
    assert nomad("retry", cancelled, "--failed", "shop").exit_code == 2


def test_a_running_job_is_cancelled(
    nomad: Nomad, order: Order, access: QueueAccess, working: Any, wait_until: Callable[..., None]
) -> None:
    job_id, queue = order(end="hang"), access.queues.get_queue("shop")
    with working():
        wait_until(lambda: queue.counts()["active"])
        assert "is being cancelled" in nomad("cancel", job_id, "--reason", "enough").stdout
        wait_until(lambda: queue.counts()["failed"])
        done = order()
        wait_until(lambda: queue.counts()["completed"])
    assert nomad("cancel", done, "--reason", "enough").exit_code == 4


def test_destructive_commands_need_a_confirmation(nomad: Nomad, order: Order, access: QueueAccess) -> None:
    job_id, queue = order(), access.queues.get_queue("shop")
    for arguments in (["remove", job_id], ["clean", "shop", "--status", "waiting", "--grace", "0s"]):
        refused = nomad(*arguments)
        assert refused.exit_code == 2
        assert "confirm with --yes" in refused.stderr
    assert queue.get(job_id) is not None
    assert nomad("remove", job_id, "--yes").exit_code == 0
    assert queue.get(job_id) is None
    order()
    assert nomad("clean", "shop", "-s", "waiting", "--grace", "0s", "-y").stdout == "Removed 1 waiting job of shop.\n"


def test_a_delayed_job_is_promoted(nomad: Nomad, order: Order, access: QueueAccess) -> None:
    job_id = order(delay=60_000)
    assert nomad("promote", job_id, "--queue", "shop").exit_code == 0
    assert access.queues.get_queue("shop").counts()["waiting"] == 1


def test_a_queue_is_paused_and_resumed(nomad: Nomad, order: Order, access: QueueAccess) -> None:
    order()
    queue = access.queues.get_queue("shop")
    paused = "shop is paused: 1 job waiting, 0 jobs still running. Resume: nomad resume shop\n"
    assert nomad("pause", "shop").stdout == paused
    assert queue.snapshot().is_paused
    assert nomad("resume", "shop").stdout == "shop is running: 1 job waiting.\n"
    assert not queue.snapshot().is_paused
    assert nomad("pause", "shop", "--for", "soon").exit_code == 2


def test_an_unknown_name_is_3_with_the_nearest_name(nomad: Nomad) -> None:
    for arguments in (
        ["jobs", "shopp"],
        ["pause", "shopp"],
        ["retry", "--failed", "shopp"],
        ["job", "1", "-q", "shopp"],
    ):
        result = nomad(*arguments)
        assert (result.exit_code, result.stdout) == (3, "")
        assert "did you mean 'shop'?" in result.stderr
        assert result.stderr.count("\n") == 1
    for arguments in (["job", "no-such"], ["retry", "no-such"], ["remove", "no-such", "--yes"]):
        result = nomad(*arguments)
        assert result.exit_code == 3
        assert "shop" in result.stderr


def test_wrong_usage_is_2_in_one_line(nomad: Nomad) -> None:
    for arguments, message in (
        (["queus"], "Did you mean 'queues'"),
        (["jobs"], "Missing argument"),
        (["queues", "--jsn"], "--json"),
        (["jobs", "shop", "--status", "waitng"], "did you mean 'waiting'?"),
        (["jobs", "shop", "--field", "item"], "name=value"),
        (["jobs", "shop", "--since", "yesterday"], "30m or 2h"),
        (["jobs", "shop", "--limit", "0"], "1"),
        (["cancel", "1"], "--reason"),
    ):
        result = nomad(*arguments)
        assert (result.exit_code, result.stdout) == (2, ""), arguments
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert nomad("jobs", "shop", "--type", "ordr").exit_code == 3


def test_a_wrong_setting_is_2(nomad: Nomad, monkeypatch: Any) -> None:
    monkeypatch.setenv("NOMAD_CONCURRENCY", "many")
    result = nomad("queues")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "nomad: NOMAD_CONCURRENCY is 'many'; allowed: a whole number from 1 to 1000\n"
