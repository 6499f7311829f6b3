"""`python -m sandbox`: it starts fast, prints its URL, and stops on a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_program_prints_its_url_and_ends_cleanly(
    tmp_path: Path, wait_until: Callable[..., None], end: signal.Signals
) -> None:
    ready = tmp_path / "ready"
    started = time.monotonic()
    program = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0", "--characters", "25", "--ready-file", str(ready)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(ready.exists, what="the ready file")
        started_s = time.monotonic() - started
        base_url = ready.read_text().strip()
        assert len(requests.get(f"{base_url}/sandbox/logins", timeout=10).json()) == 25
        assert os.listdir(tmp_path) == ["ready"]
    finally:
        program.send_signal(end)
        printed, errors = program.communicate(timeout=10)
    assert program.returncode == 0
    assert printed.strip() == base_url
    assert errors == ""
    assert started_s < 5, "half a second on an idle machine"


def test_an_invalid_option_shows_the_allowed_values() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sandbox", "--characters", "0"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 2
    assert "must be 1 to 4096, got 0" in run.stderr


def test_the_sandbox_imports_nothing_from_the_job_system() -> None:
    program = (
        "import sys, sandbox.__main__; "
        "print([name for name in sys.modules if name.split('.')[0] in ('nomad_actors', 'admin')])"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert run.stdout.strip() == "[]"
