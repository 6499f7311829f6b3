"""A system as users run it beside a strict sandbox, both on one clock that runs fast."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import requests

from demo import load
from demo.programs import wait_for
from nomad_actors import refresh_character_data
from nomad_actors.app import App, create_app
from nomad_actors.esi import GROUPS
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.settings import Settings
from nomad_actors.store import Character

from .fast_time import CLOCK, READ_TIME, as_text
from .scheduler_process import FastClock
from .user_system import ROOT, UserSystem

START_SECONDS = 30.0
#: On a machine that others use too, a request may take twice the usual time from its reservation to the sandbox.
GRACE_MS = 500
#: How far the clocks of the sandbox and of a worker may differ, in real time.
MAX_DIFFERENCE_SECONDS = 0.5


class Sandbox:
    """`python -m sandbox --strict` with a fast clock, controlled over HTTP, as a context manager."""

    def __init__(self, directory: Path, *, characters: int, seed: int, start: str, speed: float) -> None:
        self._ready = directory / "sandbox-url"
        self._output = directory / "sandbox.log"
        self._command = [sys.executable, "-m", "sandbox", "--strict", f"--ready-file={self._ready}"]
        self._command += [f"--characters={characters}", f"--seed={seed}", f"--start={start}", f"--speed={speed:g}"]
        self._command += [f"--grace-ms={GRACE_MS}"]

    def __enter__(self) -> Self:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdout=output, stderr=output, preexec_fn=end_with_parent
            )
        wait_for(self._ready.exists, seconds=START_SECONDS, what="the sandbox")
        self.url = self._ready.read_text().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def get(self, name: str) -> Any:
        """Return what its control API answers to GET."""
        response = requests.get(f"{self.url}/sandbox/{name}", timeout=START_SECONDS)
        response.raise_for_status()
        return response.json()

    def post(self, name: str, body: object) -> Any:
        """Return what its control API answers to POST."""
        response = requests.post(f"{self.url}/sandbox/{name}", json=body, timeout=START_SECONDS)
        assert response.ok, response.text
        return response.json()

    def clock(self) -> FastClock:
        """Return its clock, exact to half of a round trip."""
        before_ms = time.time_ns() / 1_000_000
        shown = self.get("clock")
        return FastClock((before_ms + time.time_ns() / 1_000_000) / 2, shown["now_ms"], shown["speed"])


class FastSystem:
    """`nomad run all` in an empty directory with a login for each of the sandbox's characters."""

    def __init__(self, directory: Path, sandbox: Sandbox) -> None:
        self._directory = directory
        self._sandbox = sandbox
        self.clock = sandbox.clock()

    def __enter__(self) -> Self:
        home = self._directory / "empty"
        home.mkdir()
        self.users = UserSystem(home, self._sandbox.url)
        environ = self.users.environ = {
            **self.users.environ,
            "NOMAD_MODULES": "chaos.fast_time",
            CLOCK: as_text(self.clock),
            # The default, but found from other directories too.
            "DATABASE_URL": f"sqlite:///{home}/var/nomad.db",
            "ESI_USER_AGENT": "nomad-actors-chaos/1 (chaos@example.com)",
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "warning"),
        }
        with ExitStack() as stack:
            stack.enter_context(self.users)
            self.app: App = create_app(
                Settings.from_env({**environ, "NOMAD_VAR_DIR": str(home / "var")}), clock=self.clock
            )
            stack.callback(self.app.close)
            self._check_clock()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _check_clock(self) -> None:
        """Check that the workers have the sandbox's clock; all that follows is worth nothing otherwise."""
        queue = self.app.queues.get_queue(READ_TIME.queue)
        job_id = self.app.queues.add_job(READ_TIME.queue, READ_TIME.name, {}).id
        self.users.wait(lambda: (job := queue.get(job_id)) is not None and job.status == "completed", "a worker")
        job = queue.get(job_id)
        assert job is not None
        assert job.finished_on_ms is not None
        shown_ms, true_ms = job.returnvalue["now_ms"], self.clock.conversion().of(job.finished_on_ms)
        apart = abs(true_ms - shown_ms) / 1000 / self.clock.conversion().speed
        assert apart < MAX_DIFFERENCE_SECONDS, f"a worker's clock is {apart:.1f} s of real time from the sandbox's"

    def log_in(self) -> list[Character]:
        """Save a login of each character, and add a job for each of its routes, as a backend does after a login."""
        characters = load.save_logins(self.app, self._sandbox.url)
        for each in characters:
            refresh_character_data(each.character_id, each.user_id, list(GROUPS))
        return characters
