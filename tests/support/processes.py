"""Starts our programs as processes for a test, with a separate environment, and stops them afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nomad_actors.processes.parent import end_with_parent

ROOT = Path(__file__).resolve().parents[2]


def environ_for(directory: Path, redis_url: str, **more: str) -> dict[str, str]:
    """Return the environment of a program that keeps all its files in `directory`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": redis_url,
        "DATABASE_URL": f"sqlite:///{directory / 'nomad.db'}",
        "NOMAD_VAR_DIR": str(directory / "var"),
        "NOMAD_METRICS_PORT": "0",
        "ADMIN_PORT": "0",
        # Without a contact no worker starts, even if it sends nothing.
        "ESI_USER_AGENT": "nomad-tests/1 (tests@example.com)",
        **more,
    }


@contextmanager
def program(arguments: list[str], environ: Mapping[str, str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m <arguments>` during the `with` block; its output goes to `output.log` in `directory`."""
    with (directory / "output.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=dict(environ),
            cwd=directory,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
