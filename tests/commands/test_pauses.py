"""Pausing and resuming one queue, or all queues that use ESI: the effect, the record and the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nomad_actors.app import QueueAccess
from nomad_actors.broker.records.limits import Pause, PauseScope
from nomad_actors.commands.session import who

from .conftest import Nomad

NomadJson = Callable[..., Any]

#: Our queues whose jobs use ESI or SSO.
ESI = ["esi-refresh", "historical-data", "token-refresh"]


def pause_of(access: QueueAccess, queue: str) -> Pause:
    (pause,) = access.queues.get_queue(queue).snapshot().pauses
    return pause


def test_a_pause_stores_its_reason_its_end_and_its_user(nomad: Nomad, access: QueueAccess) -> None:
    result = nomad("pause", "shop", "--reason", "stock-taking", "--for", "30m")
    assert result.stdout == "shop is paused for 30m: 0 jobs waiting, 0 jobs still running. Resume: nomad resume shop\n"
    pause = pause_of(access, "shop")
    assert (pause.reason, pause.by, pause.scope) == ("stock-taking", who(), PauseScope.QUEUE)
    assert pause.until_ms == pause.since_ms + 30 * 60_000
    assert not access.queues.get_queue("esi-refresh").snapshot().is_paused


def test_a_pause_of_esi_is_independent_of_a_queues_own_pause(
    nomad: Nomad, nomad_json: NomadJson, access: QueueAccess
) -> None:
    assert nomad("pause", "token-refresh", "--reason", "its own").exit_code == 0
    assert nomad("pause", "--esi", "--reason", "downtime").exit_code == 0
    scopes = {
        name: [p.scope for p in access.queues.get_queue(name).snapshot().pauses] for name in access.queues.names()
    }
    assert {name for name, found in scopes.items() if PauseScope.ESI in found} == set(ESI)
    assert scopes["token-refresh"] == [PauseScope.QUEUE, PauseScope.ESI]
    assert scopes["shop"] == []

    lines = [line for line in nomad("queues").stdout.splitlines() if ": paused" in line]
    of_esi = [line for line in lines if line.endswith("; nomad resume --esi")]
    assert [line.partition(":")[0] for line in of_esi] == ESI
    assert all("paused with all ESI queues since" in line and "(downtime)" in line for line in of_esi)
    (own,) = set(lines) - set(of_esi)
    assert own.startswith("token-refresh: paused since")
    assert own.endswith("(its own), until it is resumed; nomad resume token-refresh")

    still = nomad("resume", "token-refresh").stdout
    assert still == "token-refresh is still paused: 0 jobs waiting. Resume: nomad resume --esi\n"
    assert nomad("resume", "--esi").stdout.splitlines() == [f"{name} is running: 0 jobs waiting." for name in ESI]
    assert not any(queue["isPaused"] for queue in nomad_json("queues")["queues"])


def test_resuming_esi_does_not_end_a_queues_own_pause(nomad: Nomad, access: QueueAccess) -> None:
    nomad("pause", "esi-refresh")
    nomad("pause", "--esi", "--for", "1h")
    lines = nomad("resume", "--esi").stdout.splitlines()
    assert lines[0] == "esi-refresh is still paused: 0 jobs waiting. Resume: nomad resume esi-refresh"
    assert pause_of(access, "esi-refresh").scope is PauseScope.QUEUE


def test_either_a_queue_or_esi_must_be_given(nomad: Nomad, access: QueueAccess) -> None:
    for arguments in (["pause"], ["pause", "shop", "--esi"], ["resume"], ["resume", "shop", "--esi"]):
        result = nomad(*arguments)
        assert (result.exit_code, "name a queue or use --esi" in result.stderr) == (2, True)
    assert not any(access.queues.get_queue(name).snapshot().is_paused for name in access.queues.names())
