"""Text of others is escaped before it reaches a terminal, and wrong arguments are reported in one line."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from nomad_actors.app import QueueAccess
from nomad_actors.commands.exits import OneLineGroup
from nomad_actors.commands.report import print_json
from nomad_actors.queues.bulk import BulkRequest, Operations
from nomad_actors.queues.search import JobFilter
from tests.support.processes import ROOT

from .conftest import Nomad

Order = Callable[..., str]

#: Clears the screen, sets colours and the window title, rings the bell, begins a C1 sequence, reverses the text
#: direction, and forges a line.
NASTY = "\x1b[2J\x1b[31mRED\x1b]0;title\x07\x9b31m\u202e\r\nok      redis\x7f"


@pytest.fixture
def everywhere(order: Order, access: QueueAccess, working: Any) -> tuple[str, str]:
    """Put NASTY into a failed and a waiting job, a pause and a bulk operation; return the ids of the jobs."""
    failed = order(end="fail", item=NASTY)
    with working():
        access.broker.join("shop", timeout=5000)
    queue = access.queues.get_queue("shop")
    queue.pause(reason=NASTY, by=NASTY)
    cancelled = order()
    queue.cancel(cancelled, NASTY)
    Operations(access.queues).begin(
        "shop", BulkRequest(action="remove", job_filter=JobFilter(states=("delayed",)), by=NASTY, reason=NASTY)
    )
    return failed, order(item=NASTY)


def control_characters(text: str) -> list[str]:
    """Return the characters of a text that are neither printable nor a newline."""
    return [each for each in text if not each.isprintable() and each != "\n"]


def test_control_characters_of_others_are_escaped(nomad: Nomad, everywhere: tuple[str, str]) -> None:
    failed, waiting = everywhere
    for arguments in (
        ["queues"],
        ["jobs", "shop"],
        ["failures", "shop"],
        ["job", failed],
        ["job", waiting],
        ["operations", "list"],
        ["doctor"],
        ["job", NASTY],
        ["jobs", NASTY],
        ["operations", "stop", "shop", NASTY],
        ["cancel", NASTY, "--reason", "no"],
        [NASTY],
    ):
        result = nomad(*arguments)
        assert result.exit_code in (0, 1, 2, 3, 4), result.output
        assert control_characters(result.output) == [], arguments
        assert not any(line.startswith("ok      redis\\x7f") for line in result.output.splitlines())
        if arguments != ["doctor"]:
            assert re.search(r"\\(x1b|u001b)\[", result.output), arguments
    for arguments in (["queues"], ["jobs", "shop"], ["failures", "shop"], ["job", failed], ["operations", "list"]):
        assert control_characters(nomad(*arguments, "--json").stdout) == [], arguments


def test_control_characters_in_worker_names_and_job_output_are_escaped(
    nomad: Nomad, access: QueueAccess, working: Any, redis_client: Any
) -> None:
    with working():
        result = nomad("enqueue", "order", "--item", NASTY, "--wait")
        assert control_characters(result.output) == []
        assert "packed \\x1b[2J" in result.stderr
        assert '"item": "\\u001b[2J' in result.stdout
        (key,) = redis_client.keys("nomad:{shop}:workers")
        for worker_id, mark in redis_client.hgetall(key).items():
            if worker_id != b"tick":
                redis_client.hset(key, worker_id, mark[:20] + NASTY.encode())
        assert "\\x1b[2J" in nomad("workers").stdout
        assert control_characters(nomad("workers").stdout) == []


def run_with(environ: dict[str, str], *arguments: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [os.fsencode(sys.executable), b"-m", b"nomad_actors.cli", *arguments]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, timeout=30, check=False)


def test_an_argument_that_is_not_text_is_wrong_usage(environ: dict[str, str], tmp_path: Path) -> None:
    for arguments in ((b"job", b"\xff\xfe"), (b"enqueue", b"order", b"--item", b"\xed\xa0\x80")):
        result = run_with(environ, *arguments)
        assert (result.returncode, result.stdout) == (2, b"")
        assert b"is not text (allowed: UTF-8)" in result.stderr
        assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("lines", [False, True])
def test_very_deep_data_is_replaced_by_a_note_in_json(lines: bool, capsys: pytest.CaptureFixture[str]) -> None:
    deep: list[object] = []
    for _ in range(50_000):
        deep = [deep]
    print_json(deep, lines=lines)
    assert json.loads(capsys.readouterr().out) == "nested too deeply to be shown"
    print_json({"é": "\x9b"}, lines=lines)
    assert capsys.readouterr().out.isascii()


def test_deeply_nested_arguments_are_wrong_usage(nomad: Nomad, access: QueueAccess) -> None:
    deep = "[" * 20_000
    cursor = base64.urlsafe_b64encode(deep.encode()).decode().rstrip("=")
    for arguments, message in (
        (["enqueue", "order", "--data", deep], "--data is nested too deeply"),
        (["enqueue", "order", "--item", "a", "--numbers", deep], "numbers.0: "),
        (["enqueue", "order", "--data", '{"item": "\\ud83d"}'], "half a surrogate pair"),
        (["jobs", "shop", "--cursor", cursor], "is invalid (allowed: a nextCursor"),
    ):
        result = nomad(*arguments)
        assert (result.exit_code, result.stdout, message in result.stderr) == (2, "", True), result.output
    assert access.queues.get_queue("shop").counts()["waiting"] == 0


def test_an_error_without_text_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise KeyError

    program = typer.Typer(cls=OneLineGroup, add_completion=False)

    @program.callback()
    def group() -> None:
        """Contain a command."""

    @program.command()
    def fail() -> None:
        raise Mute

    with pytest.raises(SystemExit) as ended:
        program(["fail"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == ("nomad: unexpected error in nomad itself: Mute: unprintable Mute (KeyError)\n")
