"""The command's output on narrow terminals, in limited encodings, and on closed or full streams."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nomad_actors.app import QueueAccess

from .conftest import Nomad
from .test_program import COMMAND, on_a_terminal

Order = Callable[..., str]


def run(environ: dict[str, str], directory: Path, shell: str) -> subprocess.CompletedProcess[str]:
    """Run `nomad` in a shell that redirects its streams."""
    command = shell.replace("nomad", " ".join(COMMAND), 1)
    return subprocess.run(
        ["bash", "-c", command], env=environ, cwd=directory, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("columns", [79, 20])
def test_numbers_are_never_cut_on_narrow_terminals(
    environ: dict[str, str], tmp_path: Path, order: Order, columns: int
) -> None:
    for _ in range(123):
        order()
    output = on_a_terminal({**environ, "COLUMNS": str(columns), "NO_COLOR": "1"}, tmp_path, "queues")
    assert "123" in output


def test_eighty_columns_show_what_was_changed_and_why_a_job_failed(
    environ: dict[str, str], tmp_path: Path, nomad: Nomad, order: Order, access: QueueAccess, working: Any
) -> None:
    job_id = order(item="Caldari Navy Hookbill", end="fail")
    with working():
        access.broker.join("shop", timeout=5000)
    environ |= {"COLUMNS": "80", "NO_COLOR": "1"}
    lines = on_a_terminal(environ, tmp_path, "jobs", "shop").splitlines()
    assert "  PermanentError: no Caldari Navy Hookbill in stock" in lines
    assert nomad("pause", "shop", "--reason", "stock-taking").exit_code == 0
    assert "POST pause shop   200" in (output := on_a_terminal(environ, tmp_path, "audit"))
    assert "stock-taking" in output
    assert nomad("remove", job_id, "--yes").exit_code == 0
    assert "DELETE jobs" in (output := on_a_terminal(environ, tmp_path, "audit"))
    assert f"shop {job_id}" in output


def test_characters_that_the_encoding_lacks_are_replaced(environ: dict[str, str], tmp_path: Path) -> None:
    result = run({**environ, "PYTHONIOENCODING": "latin-1"}, tmp_path, "nomad doctor")
    assert (result.returncode, "-> nomad run" in result.stdout, result.stderr) == (1, True, ""), result


@pytest.mark.parametrize("line", ["queues", "job {id} --json", "pause shop"])
def test_a_full_standard_output_is_reported(environ: dict[str, str], tmp_path: Path, order: Order, line: str) -> None:
    result = run(environ, tmp_path, f"nomad {line.format(id=order())} > /dev/full")
    assert (result.returncode, result.stderr) == (
        1,
        "nomad: standard output cannot be written: No space left on device\n",
    )


def test_without_a_standard_output_nothing_is_done(
    environ: dict[str, str], tmp_path: Path, access: QueueAccess
) -> None:
    result = run(environ, tmp_path, "nomad pause shop >&-")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("nomad: nothing was done: standard output is closed")
    assert not access.queues.get_queue("shop").snapshot().is_paused


def test_closed_input_and_error_streams_are_ignored(environ: dict[str, str], tmp_path: Path) -> None:
    result = run(environ, tmp_path, "nomad queues --json <&- 2>&-")
    assert (result.returncode, result.stdout[:1]) == (0, "{")


def test_a_closed_pipe_ends_the_command_quietly(environ: dict[str, str], tmp_path: Path) -> None:
    result = run(environ, tmp_path, "nomad queues --json | true")
    assert result.stderr == ""
