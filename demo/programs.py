"""The processes of the demo: the sandbox, and the system as it is run for real; all end with it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import requests

from nomad_actors.errors import NomadError
from nomad_actors.processes.supervisor import Supervisor

from .environment import Ports

STOP_SECONDS = 12.0
#: Enough to fill every page, and few enough that a newcomer sees the end of their first hour in some seconds.
CHARACTERS = 10


class NotReady(NomadError):
    """Raised when a program of the demo does not come up."""


def wait_for(condition: Callable[[], object], *, seconds: float, what: str) -> None:
    """Wait until `condition` holds.

    Raises `NotReady` naming `what` when it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotReady(f"{what} did not come up within {seconds:g} s")
        time.sleep(0.05)


class Programs:
    """Starts the demo's programs, each with a log file; leaving the `with` ends them."""

    def __init__(self, directory: Path) -> None:
        self.logs = directory / "logs"
        self._directory = directory
        self._sandbox, self._system = Supervisor(), Supervisor()

    def __enter__(self) -> Self:
        """Make the place for the logs."""
        self.logs.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        """End the system first, since it speaks to the sandbox."""
        self._system.stop(STOP_SECONDS)
        self._sandbox.stop(STOP_SECONDS)

    def start_sandbox(self) -> str:
        """Start the sandbox; return its address."""
        ready = self._directory / "sandbox-url"
        command = [sys.executable, "-m", "sandbox", "--port", "0", "--ready-file", str(ready)]
        command += ["--characters", str(CHARACTERS)]
        self._sandbox.add("sandbox", command, os.environ, output=self.logs / "sandbox.log", restart=False)
        self._sandbox.start()
        wait_for(ready.exists, seconds=20, what="the sandbox")
        return ready.read_text(encoding="utf-8").strip()

    def start_system(self, environ: Mapping[str, str], ports: Ports) -> None:
        """Start a worker process, the scheduler and the admin, as `make run` does."""
        nomad = [sys.executable, "-m", "nomad_actors.cli", "run"]
        for name in ("workers", "scheduler", "admin"):
            own = {"NOMAD_METRICS_PORT": str(ports.metrics[name])} if name in ports.metrics else {}
            self._system.add(name, [*nomad, name], {**environ, **own}, output=self.logs / f"{name}.log")
        self._system.start()

    @staticmethod
    def answers(url: str) -> bool:
        """Return whether an address answers with success."""
        try:
            return requests.get(url, timeout=2).ok
        except requests.RequestException:
            return False
