"""Each limit of a queue is set and removed independently of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nomad_actors.app import QueueAccess
from nomad_actors.broker.records.limits import NO_LIMITS, Limits

from .conftest import Nomad

NomadJson = Callable[..., Any]


def limits(access: QueueAccess) -> Limits:
    return access.queues.get_queue("shop").snapshot().limits


def test_each_limit_is_set_and_removed_independently(nomad: Nomad, nomad_json: NomadJson, access: QueueAccess) -> None:
    none = "Limits of shop: running on all hosts: no limit; starts: no limit; waiting and delayed: no limit\n"
    assert nomad("limits", "shop").stdout == none
    assert nomad("limits", "shop", "--concurrency", "4").exit_code == 0
    assert nomad("limits", "shop", "--starts", "100", "--per", "1h").exit_code == 0
    output = nomad("limits", "shop", "--max-length", "5000").stdout
    assert output == "Limits of shop: running on all hosts: 4; starts: 100 in 1h; waiting and delayed: 5000\n"
    assert limits(access) == Limits(concurrency=4, starts=100, period_ms=3_600_000, max_length=5000)
    assert nomad_json("limits", "shop") == {
        "queueName": "shop",
        "concurrency": 4,
        "starts": 100,
        "periodMs": 3_600_000,
        "maxLength": 5000,
        "inForce": 4,
    }
    assert nomad("limits", "shop", "--concurrency", "none").exit_code == 0
    assert limits(access) == Limits(starts=100, period_ms=3_600_000, max_length=5000)
    assert nomad("limits", "shop", "--starts", "none", "--max-length", "none").exit_code == 0
    assert limits(access) == NO_LIMITS


def test_the_period_stays_unless_it_is_given(nomad: Nomad, access: QueueAccess) -> None:
    assert nomad("limits", "shop", "--starts", "100").exit_code == 0
    assert limits(access) == Limits(starts=100, period_ms=60_000)
    assert nomad("limits", "shop", "--per", "1h").stdout.count("100 in 1h") == 1
    assert nomad("limits", "shop", "--starts", "90").stdout.count("90 in 1h") == 1
    assert limits(access) == Limits(starts=90, period_ms=3_600_000)


def test_an_invalid_limit_is_wrong_usage_and_changes_nothing(nomad: Nomad, access: QueueAccess) -> None:
    for arguments, message in (
        (["--per", "2h"], "--per needs a limit of starts, and there is none"),
        (["--starts", "none", "--per", "2h"], "--per needs a limit of starts"),
        (["--concurrency", "0"], "concurrency 0"),
        (["--concurrency", "many"], "allowed: a whole number, or none"),
        (["--starts", "5", "--per", "soon"], "--per 'soon'"),
        (["--max-length", "-1"], "allowed: a whole number, or none"),
    ):
        result = nomad("limits", "shop", *arguments)
        assert (result.exit_code, result.stdout, message in result.stderr) == (2, "", True), result.output
    assert limits(access) == NO_LIMITS
    assert nomad("limits", "shopp").exit_code == 3


def test_a_full_queue_refuses_with_4(nomad: Nomad) -> None:
    nomad("limits", "shop", "--max-length", "1")
    assert nomad("enqueue", "order", "--item", "rifter").exit_code == 0
    full = nomad("enqueue", "order", "--item", "rifter")
    assert (full.exit_code, full.stdout) == (4, "")
    assert "shop" in full.stderr
