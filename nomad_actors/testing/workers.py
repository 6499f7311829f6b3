"""Workers: in the test's own process, and in another that it can kill, freeze and stop as an operator would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from dramatiq import Broker, Worker

from ..processes.parent import end_with_parent

STOP_TIMEOUT_SECONDS = 30.0


@contextmanager
def running(broker: Broker, *, threads: int = 8, queues: set[str] | None = None) -> Iterator[Worker]:
    """Run a Dramatiq `Worker` during a `with` block, for all queues of the broker or the named ones.

    Dramatiq's `TimeLimit` works only under its command line and in a `WorkerProcess`.
    """
    worker = Worker(broker, worker_threads=threads, worker_timeout=100, queues=queues)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(timeout=5_000)


class WorkerProcess:
    """One process that runs a broker's jobs; `target` is `module` or `module:broker`, as in Dramatiq's command line.

    It gets the environment of this process plus `environ`, works in `directory`, and is killed when the thread that
    started it ends.
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
        """Start the process and wait until its worker runs; raises `AssertionError` with its output if not."""
        ready_read, ready_write = os.pipe()
        arguments = [self.target, str(self.threads), str(ready_write)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nomad_actors.testing.worker_main", *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), **self.environ},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[ready_write],
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        os.close(ready_write)
        with open(ready_read, "rb") as pipe:
            if pipe.read() != b"ready":
                self._process.wait()
                raise AssertionError(f"the worker process of {self.target} did not start:\n{self.output()}")
        return self

    @property
    def pid(self) -> int:
        return self._started().pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill the process with SIGKILL: it does not return its jobs."""
        self._started().kill()
        self._started().wait()

    def freeze(self) -> None:
        """Pause the process with SIGSTOP, as a debugger or a suspended machine does, and wait until it has stopped."""
        process = self._started()
        process.send_signal(signal.SIGSTOP)
        # The signal takes time: a thread must not run after this method returns.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        self._started().send_signal(signal.SIGCONT)

    def stop(self, *, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Stop the process with SIGTERM; raises `AssertionError` with its output after `timeout_seconds`."""
        self._started().terminate()
        try:
            self._started().wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"the worker process of {self.target} had not stopped after {timeout_seconds:g} s:\n{self.output()}"
            ) from None

    def output(self) -> str:
        # `pread`: both processes share the file's position.
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def close(self) -> None:
        """Kill the process if it is running, and delete its output."""
        if self.alive():
            self.kill()
        self._output.close()

    def __enter__(self) -> WorkerProcess:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the worker process was not started"
        return self._process
