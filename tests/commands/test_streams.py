"""The command's output: narrow terminals, poor encodings, and streams that are closed or full."""

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
    """Run `nomad` by a shell, which redirects its streams."""
    command = shell.replace("nomad", " ".join(COMMAND), 1)
    return subprocess.run(
        ["bash", "-c", command], env=environ, cwd=directory, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("columns", [79, 20])
def test_no_number_is_cut_however_narrow_the_terminal_is(
    environ: dict[str, str], tmp_path: Path, order: Order, columns: int
) -> None:
    for _ in range(123):
        order()
    said = on_a_terminal({**environ, "COLUMNS": str(columns), "NO_COLOR": "1"}, tmp_path, "queues")
    assert "123" in said


def test_eighty_columns_have_room_for_what_was_done_and_why_a_job_failed(
    environ: dict[str, str], tmp_path: Path, nomad: Nomad, order: Order, access: QueueAccess, working: Any
) -> None:
    job_id = order(item="Caldari Navy Hookbill", end="fail")
    with working():
        access.broker.join("shop", timeout=5000)
    environ |= {"COLUMNS": "80", "NO_COLOR": "1"}
    lines = on_a_terminal(environ, tmp_path, "jobs", "shop").splitlines()
    assert "  PermanentError: no Caldari Navy Hookbill in stock" in lines
    assert nomad("pause", "shop", "--reason", "stock-taking").exit_code == 0
    assert "POST pause shop   200" in (said := on_a_terminal(environ, tmp_path, "audit"))
    assert "stock-taking" in said
    assert nomad("remove", job_id, "--yes").exit_code == 0
    assert "DELETE jobs" in (said := on_a_terminal(environ, tmp_path, "audit"))
    assert f"shop {job_id}" in said


def test_an_encoding_without_our_characters_gets_others(environ: dict[str, str], tmp_path: Path) -> None:
    said = run({**environ, "PYTHONIOENCODING": "latin-1"}, tmp_path, "nomad doctor")
    assert (said.returncode, "-> nomad run" in said.stdout, said.stderr) == (1, True, ""), said


@pytest.mark.parametrize("line", ["queues", "job {id} --json", "pause shop"])
def test_a_full_standard_output_is_named(environ: dict[str, str], tmp_path: Path, order: Order, line: str) -> None:
    said = run(environ, tmp_path, f"nomad {line.format(id=order())} > /dev/full")
    assert (said.returncode, said.stderr) == (1, "nomad: standard output cannot be written: No space left on device\n")


def test_without_a_standard_output_nothing_is_done(
    environ: dict[str, str], tmp_path: Path, access: QueueAccess
) -> None:
    said = run(environ, tmp_path, "nomad pause shop >&-")
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)
    assert said.stderr.startswith("nomad: nothing was done: standard output is closed")
    assert not access.queues.get_queue("shop").snapshot().is_paused


def test_closed_input_and_error_do_not_matter(environ: dict[str, str], tmp_path: Path) -> None:
    said = run(environ, tmp_path, "nomad queues --json <&- 2>&-")
    assert (said.returncode, said.stdout[:1]) == (0, "{")


def test_a_reader_that_has_enough_ends_it_quietly(environ: dict[str, str], tmp_path: Path) -> None:
    said = run(environ, tmp_path, "nomad queues --json | true")
    assert said.stderr == ""
