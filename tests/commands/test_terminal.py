"""What others wrote reaches no terminal as it is; and what was typed wrong is said in one line."""

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
from nomad_actors.queues.bulk import Operations, Wish
from nomad_actors.queues.search import JobFilter
from tests.support.processes import ROOT

from .conftest import Nomad

Order = Callable[..., str]

#: Clears the screen, turns red, renames the window, rings, begins a C1 sequence, turns the direction of reading,
#: begins a line of its own.
NASTY = "\x1b[2J\x1b[31mRED\x1b]0;title\x07\x9b31m\u202e\r\nok      redis\x7f"


@pytest.fixture
def everywhere(order: Order, access: QueueAccess, working: Any) -> tuple[str, str]:
    """The ids of a job that failed so and of one that waits so, in a queue that is paused and had an operation so."""
    failed = order(end="fail", item=NASTY)
    with working():
        access.broker.join("shop", timeout=5000)
    queue = access.queues.get_queue("shop")
    queue.pause(reason=NASTY, by=NASTY)
    cancelled = order()
    queue.cancel(cancelled, NASTY)
    Operations(access.queues).begin(
        "shop", Wish(action="remove", sought=JobFilter(states=("delayed",)), by=NASTY, reason=NASTY)
    )
    return failed, order(item=NASTY)


def steers(text: str) -> list[str]:
    """Return what is in a text that is neither printed nor ends a line."""
    return [each for each in text if not each.isprintable() and each != "\n"]


def test_what_others_wrote_is_written_out(nomad: Nomad, everywhere: tuple[str, str]) -> None:
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
        assert steers(result.output) == [], arguments
        assert not any(line.startswith("ok      redis\\x7f") for line in result.output.splitlines())
        if arguments != ["doctor"]:
            assert re.search(r"\\(x1b|u001b)\[", result.output), arguments
    for arguments in (["queues"], ["jobs", "shop"], ["failures", "shop"], ["job", failed], ["operations", "list"]):
        assert steers(nomad(*arguments, "--json").stdout) == [], arguments


def test_a_workers_name_and_a_jobs_words_are_written_out_too(
    nomad: Nomad, access: QueueAccess, working: Any, redis_client: Any
) -> None:
    with working():
        result = nomad("enqueue", "order", "--item", NASTY, "--wait")
        assert steers(result.output) == []
        assert "packed \\x1b[2J" in result.stderr
        assert '"item": "\\u001b[2J' in result.stdout
        (key,) = redis_client.keys("nomad:{shop}:workers")
        for worker_id, mark in redis_client.hgetall(key).items():
            if worker_id != b"tick":
                redis_client.hset(key, worker_id, mark[:20] + NASTY.encode())
        assert "\\x1b[2J" in nomad("workers").stdout
        assert steers(nomad("workers").stdout) == []


def typed(environ: dict[str, str], *arguments: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [os.fsencode(sys.executable), b"-m", b"nomad_actors.cli", *arguments]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, timeout=30, check=False)


def test_an_argument_that_is_no_text_is_wrong_usage(environ: dict[str, str], tmp_path: Path) -> None:
    for arguments in ((b"job", b"\xff\xfe"), (b"enqueue", b"order", b"--item", b"\xed\xa0\x80")):
        result = typed(environ, *arguments)
        assert (result.returncode, result.stdout) == (2, b"")
        assert b"is no text (accepted: UTF-8)" in result.stderr
        assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("lines", [False, True])
def test_json_of_very_deep_data_is_a_note(lines: bool, capsys: pytest.CaptureFixture[str]) -> None:
    deep: list[object] = []
    for _ in range(50_000):
        deep = [deep]
    print_json(deep, lines=lines)
    assert json.loads(capsys.readouterr().out) == "nested too deeply to be shown"
    print_json({"é": "\x9b"}, lines=lines)
    assert capsys.readouterr().out.isascii()


def test_what_is_nested_too_deeply_is_wrong_usage(nomad: Nomad, access: QueueAccess) -> None:
    deep = "[" * 20_000
    cursor = base64.urlsafe_b64encode(deep.encode()).decode().rstrip("=")
    for arguments, said in (
        (["enqueue", "order", "--data", deep], "--data is nested too deeply"),
        (["enqueue", "order", "--item", "a", "--numbers", deep], "numbers.0: "),
        (["enqueue", "order", "--data", '{"item": "\\ud83d"}'], "half a surrogate pair"),
        (["jobs", "shop", "--cursor", cursor], "is unusable (accepted: a nextCursor"),
    ):
        result = nomad(*arguments)
        assert (result.exit_code, result.stdout, said in result.stderr) == (2, "", True), result.output
    assert access.queues.get_queue("shop").counts()["waiting"] == 0


def test_an_error_without_text_ends_a_command_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise KeyError

    program = typer.Typer(cls=OneLineGroup, add_completion=False)

    @program.callback()
    def group() -> None:
        """Hold a command."""

    @program.command()
    def fail() -> None:
        raise Mute

    with pytest.raises(SystemExit) as ended:
        program(["fail"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "nomad: unexpected Mute: unprintable Mute (KeyError) (a fault of nomad itself)\n"
    )
