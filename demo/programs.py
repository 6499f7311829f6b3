"""The processes of the demo: the sandbox, and the real system; all stop with the demo."""

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
#: Enough to fill every page, but few enough that the first jobs end within seconds.
CHARACTERS = 10


class NotReady(NomadError):
    """Raised if a program of the demo does not start."""


def wait_for(condition: Callable[[], object], *, seconds: float, what: str) -> None:
    """Wait until `condition` is true. Raises `NotReady` with `what` if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotReady(f"{what} did not start within {seconds:g} s")
        time.sleep(0.05)


class Programs:
    """Starts the demo's programs, each with a log file; they stop at the end of the `with` block."""

    def __init__(self, directory: Path) -> None:
        self.logs = directory / "logs"
        self._directory = directory
        self._sandbox, self._system = Supervisor(), Supervisor()

    def __enter__(self) -> Self:
        self.logs.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        # The system first, because it uses the sandbox.
        self._system.stop(STOP_SECONDS)
        self._sandbox.stop(STOP_SECONDS)

    def start_sandbox(self) -> str:
        """Start the sandbox; return its URL."""
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
    def is_up(url: str) -> bool:
        """Return whether a URL responds with success."""
        try:
            return requests.get(url, timeout=2).ok
        except requests.RequestException:
            return False
