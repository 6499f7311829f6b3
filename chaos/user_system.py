"""The whole system as users run it: `nomad run all` in its own directory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from nomad_actors.app import QueueAccess, open_queues
from nomad_actors.errors import NomadError
from nomad_actors.processes.local_redis import free_port
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.settings import Settings

from .kept_jobs import LEDGER

ROOT = Path(__file__).resolve().parent.parent
NOMAD = (sys.executable, "-m", "nomad_actors.cli")
#: A word in the command line of each program.
PROGRAMS = {
    "redis": ("redis-server", "valkey-server"),
    "workers": ("workers",),
    "scheduler": ("nomad_actors.scheduler",),
    "admin": ("admin",),
}
UP_SECONDS = 60.0


class UserSystem:
    """The system in one directory, which is empty at first; leaving the `with` kills it."""

    def __init__(self, directory: Path, sandbox_url: str, *, nomad: tuple[str, ...] = NOMAD) -> None:
        self.directory = directory
        self.ledger = directory / "ledger"
        self._nomad = nomad
        self._output = directory.parent / "output.log"
        self._process: subprocess.Popen[bytes] | None = None
        # The scheduler's metrics port is the one after the workers'.
        metrics_port, _, admin_port = free_port(), free_port(), free_port()
        # No REDIS_* and no NOMAD_VAR_DIR, as in the README. Only the ports are the tests' own.
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PYTHONPATH": str(ROOT),
            "NOMAD_MODULES": "chaos.kept_jobs",
            "NOMAD_KEEP_COMPLETED_KEPT": "1000000/7d",
            "NOMAD_SHUTDOWN_MS": "6000",
            "NOMAD_METRICS_PORT": str(metrics_port),
            "ADMIN_PORT": str(admin_port),
            "ESI_BASE_URL": sandbox_url,
            "SSO_BASE_URL": sandbox_url,
            "EVE_CLIENT_ID": "sandbox-client",
            "EVE_CLIENT_SECRET": "sandbox-secret",
            LEDGER: str(self.ledger),
        }

    def __enter__(self) -> UserSystem:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()

    def start(self) -> None:
        """Start it as users do, and wait until its Redis answers."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._nomad, "run", "all"],
                env=self.environ,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.wait(self.is_redis_up, "its Redis")

    def stop(self) -> None:
        """Stop it like Ctrl-C does, and wait for its end."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(timeout=UP_SECONDS)
        assert code == 0, f"it ended with {code}: {self.output()}"

    def kill_supervisor(self) -> None:
        """Kill only `nomad run all`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill(self, name: str) -> None:
        """Kill one of its programs, and wait until it has been restarted."""
        before = self.pid(name)
        psutil.Process(before).kill()
        self.wait(lambda: self.find(name) not in (None, before), f"{name} to be started again")

    def kill_all(self) -> None:
        """Kill all of its processes at once, like a power cut."""
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=UP_SECONDS)
        if self._process is not None:
            self._process.wait()

    def _processes(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]

    def find(self, name: str) -> int | None:
        """Return the process id of one of its programs, None if it is not running."""
        for process in self._processes()[1:]:
            with contextlib.suppress(psutil.Error):
                if process.ppid() == self._process.pid and _is_program(name, process.cmdline()):  # type: ignore[union-attr]
                    return process.pid
        return None

    def pid(self, name: str) -> int:
        """Wait for one of its programs and return its process id."""
        self.wait(lambda: self.find(name) is not None, name)
        found = self.find(name)
        assert found is not None
        return found

    def worker_pid(self) -> int:
        """Wait for a worker process that takes jobs and return its process id."""
        with self.open_access() as access:
            queue = access.queues.get_queue("kept")

            def alive() -> list[int]:
                pids = [int(worker.name.partition(":")[2].partition("@")[0]) for worker in queue.snapshot().workers]
                return [pid for pid in pids if psutil.pid_exists(pid)]

            self.wait(alive, "a worker")
            return alive()[0]

    @contextlib.contextmanager
    def open_access(self) -> Iterator[QueueAccess]:
        """Open its queues, found like a command in its directory finds them."""
        settings = Settings.from_env({**self.environ, "NOMAD_VAR_DIR": str(self.directory / "var")})
        access = open_queues(settings, caller_deadline_ms=5_000)
        try:
            yield access
        finally:
            access.close()

    def is_redis_up(self) -> bool:
        """Return whether its Redis answers."""
        if not (self.directory / "var" / "redis" / "url").exists():
            return False
        with self.open_access() as access:
            try:
                access.broker.ping()
            except NomadError:
                return False
        return True

    def command(self, *words: str) -> str:
        """Run `nomad` in its directory and return the output."""
        done = subprocess.run(
            [*self._nomad, *words],
            env=self.environ,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"nomad {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until `condition` is true; otherwise raise `AssertionError` with `what` and the log."""
        deadline = time.monotonic() + UP_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"not within {UP_SECONDS:g} s: {what}; {self.output()}"
            assert self._process is not None
            assert self._process.poll() is None, f"`nomad run all` ended: {self.output()}"
            time.sleep(0.02)

    def output(self) -> str:
        """Return the end of its log."""
        return self._output.read_text(errors="replace")[-3_000:] if self._output.exists() else ""

    def unexpected_lines(self) -> list[str]:
        """Return log lines that must never appear, whatever was killed."""
        unexpected = ("own Redis: ", "uncaught exception", "nobody watches", "another program uses its port")
        return [
            line for line in self._output.read_text(errors="replace").splitlines() if any(w in line for w in unexpected)
        ]


def _is_program(name: str, command: list[str]) -> bool:
    # Redis turns its whole command line into one word.
    words = " ".join(command).split()[:5]
    return any(mark in (word, Path(word).name) for mark in PROGRAMS[name] for word in words)
