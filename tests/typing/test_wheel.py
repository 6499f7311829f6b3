"""What the wheel must contain besides the package."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests


@pytest.mark.slow
def test_nomad_starts_the_sandbox_of_the_wheel(python: Path, tmp_path: Path, wait_until: Callable[..., None]) -> None:
    ready = tmp_path / "ready"
    program = subprocess.Popen(
        [python, "-m", "nomad_actors.cli", "sandbox", "--characters", "1", f"--ready-file={ready}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(ready.exists, what="the ready file")
        assert requests.get(f"{ready.read_text().strip()}/sandbox/conduct", timeout=10).json()["total"] == 0
    finally:
        program.send_signal(signal.SIGTERM)
        printed, _ = program.communicate(timeout=10)
    assert program.returncode == 0
    assert printed.startswith("ESI_BASE_URL=")
