"""`make run` on one host: own Redis, SQLite, everything supervised, and nothing left after the stop."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests
from dramatiq import Message

from demo.load import add_first_jobs, save_logins
from nomad_actors.app import App, create_app
from nomad_actors.broker import JobBroker
from nomad_actors.processes.local_redis import free_port
from nomad_actors.settings import Settings
from sandbox.serve import SandboxServer
from tests.processes.test_private_files import open_in
from tests.support.processes import environ_for, program

SLOW_JOB_TYPE = """
import time
from nomad_actors import JobType, Payload, Result

def run(payload: Payload) -> Result:
    time.sleep(600)
    return Result()

SLOW = JobType(name="slow", queue="slow", payload=Payload, result=Result, run=run, time_limit_ms=600_000)
"""


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(seed=3, characters=4) as sandbox:
        yield sandbox


@pytest.fixture
def environ(tmp_path: Path, sandbox: SandboxServer) -> dict[str, str]:
    environ = environ_for(
        tmp_path,
        "",
        ESI_BASE_URL=sandbox.base_url,
        SSO_BASE_URL=sandbox.base_url,
        EVE_CLIENT_ID="sandbox-client",
        EVE_CLIENT_SECRET="sandbox-secret",
        NOMAD_SHUTDOWN_MS="6000",
        NOMAD_METRICS_PORT=str(first_of_two_free_ports()),
    )
    del environ["REDIS_URL"]
    return environ


def first_of_two_free_ports() -> int:
    first = free_port()
    while (second := free_port()) != first + 1:
        first = second
    return first


def output_of(directory: Path) -> str:
    return (directory / "output.log").read_text(errors="replace")


@pytest.fixture
def app(environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]) -> Iterator[App]:
    """The application of everything that `nomad run all` starts; stopped at the end."""
    with program(["nomad_actors.cli", "run", "all"], environ, tmp_path) as process:
        wait_until(lambda: "own Redis started" in output_of(tmp_path), timeout_seconds=20)
        # No REDIS_URL: they find it as a command in another shell does.
        app = create_app(Settings.from_env(environ))
        yield app
        app.close()
        children = psutil.Process(process.pid).children(recursive=True)
        # As with `make`: its process group already has the signal, and it forwards it.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        assert process.returncode == 0
        assert "killed: it did not stop in time" not in output_of(tmp_path)
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive


def ended(app: App) -> bool:
    counts = [app.queues.get_queue(name).counts() for name in app.queues.names()]
    return all(c["completed"] for c in counts) and not any(c["waiting"] + c["active"] for c in counts)


@pytest.mark.slow
def test_everything_runs_on_one_host_and_a_killed_worker_is_restarted(
    app: App, environ: dict[str, str], sandbox: SandboxServer, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    add_first_jobs(save_logins(app, sandbox.base_url))
    wait_until(lambda: ended(app), timeout_seconds=60, what=output_of(tmp_path)[-3000:])
    failed = [job.failed_reason for name in app.queues.names() for job in app.queues.get_queue(name).jobs("failed")]
    assert failed == []
    beside = subprocess.run(
        [sys.executable, "-m", "nomad_actors.cli", "queues", "--json"],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(queue["kept"]["completed"] for queue in json.loads(beside.stdout)["queues"])
    # Database, WAL, key, Redis's files, its log and its address.
    assert len(list((tmp_path / "var").rglob("*"))) > 10
    assert open_in(tmp_path / "var") == []
    lines = output_of(tmp_path)
    admin = re.search(r'event="admin started" url=(\S+)', lines)
    assert admin is not None
    assert requests.get(admin[1], timeout=10).status_code == 200
    port = int(environ["NOMAD_METRICS_PORT"])
    metrics = [requests.get(f"http://127.0.0.1:{port + more}/metrics", timeout=10).text for more in (0, 1)]
    none = 'nomad_job_wait_seconds_count{actor="token-refresh",queue="token-refresh"} 0.0'
    assert [none in text for text in metrics] == [False, True]
    assert "metrics are not served" not in lines
    assert "database is locked" not in lines
    assert "Traceback" not in lines
    assert "level=error" not in lines
    check_a_killed_worker_is_started_again(app, tmp_path, wait_until)


def check_a_killed_worker_is_started_again(app: App, tmp_path: Path, wait_until: Callable[..., None]) -> None:
    queue = app.queues.get_queue("cache-cleanup")
    (first,) = queue.snapshot().workers
    pid = int(first.name.partition(":")[2].partition("@")[0])
    psutil.Process(pid).kill()
    wait_until(
        lambda: any(worker.name != first.name for worker in queue.snapshot().workers),
        timeout_seconds=30,
        what=output_of(tmp_path)[-3000:],
    )


@pytest.mark.slow
def test_a_second_signal_later_stops_everything_immediately(
    environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    environ["NOMAD_SHUTDOWN_MS"] = "60000"
    (tmp_path / "slow.py").write_text(SLOW_JOB_TYPE, encoding="utf-8")
    environ["NOMAD_MODULES"], environ["PYTHONPATH"] = "slow", f"{tmp_path}:{environ['PYTHONPATH']}"
    with program(["nomad_actors.cli", "run", "all"], environ, tmp_path) as process:
        wait_until(lambda: "own Redis started" in output_of(tmp_path), timeout_seconds=20)
        broker = JobBroker(url=Settings.from_env(environ).redis_url)
        view = broker.view("slow")
        broker.enqueue(Message("slow", "slow", (), {}, {}))
        wait_until(lambda: view.counts().active == 1, timeout_seconds=30)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Stopping worker process" in output_of(tmp_path))
        first = time.monotonic()
        # Like repeated Ctrl-C; a second signal right after the first one counts as the same.
        while process.poll() is None and time.monotonic() - first < 20:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        assert time.monotonic() - first < 10, "it waits for the job's 60 s"
        broker.close()
