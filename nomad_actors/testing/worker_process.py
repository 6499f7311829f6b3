"""A worker in a process of its own: to be killed, frozen and stopped as an operator or the kernel does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from ..processes.parent import end_with_parent

STOP_TIMEOUT_SECONDS = 30.0


class WorkerProcess:
    """One process that runs a broker's jobs, named as for Dramatiq's command line: `module` or `module:broker`.

    It has the environment of this process and `environ` on top of it, works in `directory`, and dies with the thread
    that started it.
    """

    def __init__(
        self, target: str, *, threads: int = 8, environ: Mapping[str, str] | None = None, directory: Path | None = None
    ) -> None:
        self.target = target
        self.threads = threads
        self.environ = dict(environ or {})
        self.directory = directory
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - open until close()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> WorkerProcess:
        """Start the process and wait until it takes jobs.

        Raises `AssertionError` with what it printed when it ended instead.
        """
        ready, tell = os.pipe()
        arguments = ["--threads", str(self.threads), "--ready", str(tell)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nomad_actors.testing.worker_main", self.target, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), **self.environ},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[tell],
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        os.close(tell)
        with open(ready, "rb") as line:
            if line.read() != b"ready":
                self._process.wait()
                raise AssertionError(f"the worker process of {self.target} did not start:\n{self.output()}")
        return self

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._started().pid

    def alive(self) -> bool:
        """Return whether the process is still there."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill the process with SIGKILL: nothing is given back."""
        self._started().kill()
        self._started().wait()

    def freeze(self) -> None:
        """Stop the process with SIGSTOP, as a debugger or a suspended machine does; no thread of it runs any more."""
        process = self._started()
        process.send_signal(signal.SIGSTOP)
        # The signal is on its way: what a thread does meanwhile would be done by a frozen process.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._started().send_signal(signal.SIGCONT)

    def stop(self, *, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Stop the process with SIGTERM: what runs ends or is given back.

        Raises `AssertionError` with what it printed when it is still there after `timeout_seconds`.
        """
        self._started().terminate()
        try:
            self._started().wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"the worker process of {self.target} had not stopped after {timeout_seconds:g} s:\n{self.output()}"
            ) from None

    def output(self) -> str:
        """Return what the process printed."""
        # Read where the process does not write: the file's place belongs to both.
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def close(self) -> None:
        """Kill the process if it is still there, and let go of its output."""
        if self.alive():
            self.kill()
        self._output.close()

    def __enter__(self) -> WorkerProcess:
        """Start the process."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kill it if it is still there."""
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the worker process was not started"
        return self._process
