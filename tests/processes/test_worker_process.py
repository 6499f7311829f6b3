"""Workers as users run them: Dramatiq's command line in a process, a user's job type, and stopping."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nomad_actors.app import App, create_app
from nomad_actors.settings import Settings
from tests.support.processes import environ_for, program

pytestmark = pytest.mark.slow

#: A job type in one file, as a user writes it.
OWN_JOB_TYPE = """
import time
from nomad_actors import JobType, Payload, PermanentError, Priority, Result, current_job

class Hello(Payload):
    name: str
    seconds: float = 0

class Greeting(Result):
    text: str

def greet(payload: Hello) -> Greeting:
    if payload.name == "nobody":
        raise PermanentError("told to fail")
    end = time.monotonic() + payload.seconds
    while time.monotonic() < end:
        time.sleep(0.02)
    return Greeting(text=f"hello {payload.name}, this is attempt {current_job().attempt}")

HELLO = JobType(name="hello", queue="greetings", payload=Hello, result=Greeting, run=greet,
                priority=Priority.HIGH, concurrency=2)
"""

SHUTDOWN_MS = 6_000


@pytest.fixture
def environ(tmp_path: Path, redis_url: str) -> dict[str, str]:
    (tmp_path / "greetings.py").write_text(OWN_JOB_TYPE, encoding="utf-8")
    return environ_for(
        tmp_path,
        redis_url,
        NOMAD_MODULES="greetings",
        NOMAD_SHUTDOWN_MS=str(SHUTDOWN_MS),
        PYTHONPATH=f"{tmp_path}:{Path(__file__).resolve().parents[2]}",
    )


@pytest.fixture
def app(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "greetings", raising=False)
    app = create_app(Settings.from_env(environ))
    yield app
    app.close()


def output_of(directory: Path) -> str:
    return (directory / "output.log").read_text(errors="replace")


def test_a_users_job_type_runs_in_a_worker_process(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    queue = app.queues.get_queue("greetings")
    with program(["nomad_actors.cli", "run", "workers"], environ, tmp_path):
        added = app.queues.add_job("greetings", "hello", {"name": "capsuleer"})
        wait_until(lambda: queue.counts()["completed"] == 1, timeout_seconds=30, what=output_of(tmp_path))
        job = queue.get(added.id)
        assert job is not None
        assert job.returnvalue == {"text": "hello capsuleer, this is attempt 1"}
        (worker,) = queue.snapshot().workers
        assert worker.name.partition(":")[2].partition("@")[0].isdigit()
    lines = output_of(tmp_path)
    assert f"job_id={added.id}" in lines
    assert "category=job_metrics" in lines
    assert "module=hello-job" in lines


def test_the_users_modules_are_imported_in_each_worker_and_not_before_a_fork(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    begins = "import os, threading; threading.Thread(target=print, args=(f'begun in {os.getpid()}',)).start()"
    (tmp_path / "greetings.py").write_text(f"{OWN_JOB_TYPE}\n{begins}\n", encoding="utf-8")
    with program(["nomad_actors.cli", "run", "workers", "--processes", "2"], environ, tmp_path) as main:
        queue = app.queues.get_queue("greetings")
        wait_until(lambda: len(queue.snapshot().workers) == 2, timeout_seconds=30, what=output_of(tmp_path))
        pids = {int(worker.name.partition(":")[2].partition("@")[0]) for worker in queue.snapshot().workers}

        def begun() -> set[int]:
            return {int(pid) for pid in re.findall(r"begun in ([0-9]+)", output_of(tmp_path))}

        wait_until(lambda: begun() >= pids, timeout_seconds=20, what=output_of(tmp_path))
        # One more if it was quick: the process that checks whether workers can start.
        assert (main.pid in begun(), len(begun() - pids) <= 1) == (False, True)


@pytest.mark.parametrize("reporting", [False, True])
def test_a_worker_stops_in_time_and_returns_running_jobs(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None], reporting: bool
) -> None:
    queue = app.queues.get_queue("greetings")
    # A Sentry that accepts connections but never responds.
    sentry = socket.create_server(("127.0.0.1", 0))
    if reporting:
        environ["SENTRY_DSN"] = f"http://public@127.0.0.1:{sentry.getsockname()[1]}/1"
        app.queues.add_job("greetings", "hello", {"name": "nobody"})
    with sentry, program(["nomad_actors.cli", "run", "workers"], environ, tmp_path) as process:
        added = app.queues.add_job("greetings", "hello", {"name": "slow", "seconds": 600})
        wait_until(lambda: queue.counts()["active"] == 1, timeout_seconds=30, what=output_of(tmp_path))
        assert queue.counts()["failed"] == reporting
        before = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        took_ms = (time.monotonic() - before) * 1000
    assert took_ms < SHUTDOWN_MS
    job = queue.get(added.id)
    assert job is not None
    assert (job.status, job.attempts_made) == ("waiting", 0)
    assert queue.snapshot().workers == []


def test_a_second_sigterm_ends_a_worker_immediately(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    queue = app.queues.get_queue("greetings")
    environ["NOMAD_SHUTDOWN_MS"] = "60000"
    with program(["nomad_actors.cli", "run", "workers"], environ, tmp_path) as process:
        app.queues.add_job("greetings", "hello", {"name": "slow", "seconds": 600})
        wait_until(lambda: queue.counts()["active"] == 1, timeout_seconds=30, what=output_of(tmp_path))
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Stopping worker process" in output_of(tmp_path), timeout_seconds=5)
        before = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    assert time.monotonic() - before < 4


def test_no_process_outlives_a_killed_main_process(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    queue = app.queues.get_queue("greetings")
    environ["NOMAD_SHUTDOWN_MS"] = "2000"
    with program(["nomad_actors.cli", "run", "workers"], environ, tmp_path) as process:
        wait_until(lambda: queue.snapshot().workers, timeout_seconds=30, what=output_of(tmp_path))
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_a_module_that_cannot_be_imported_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    environ["NOMAD_MODULES"] = "greetings,nowhere"
    result = subprocess.run(
        [sys.executable, "-m", "nomad_actors.cli", "run", "workers"],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    (output_of,) = [line for line in result.stderr.splitlines() if "wrong setting" in line]
    assert "NOMAD_MODULES names 'nowhere', which cannot be imported" in output_of
    assert "level=critical" in output_of
