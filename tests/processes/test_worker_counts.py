"""Each worker process serves its metrics on a separate port; counts in Redis survive a kill."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from nomad_actors.app import App, create_app
from nomad_actors.processes.local_redis import free_port
from nomad_actors.queues import NewJob, Queue
from nomad_actors.settings import Settings
from tests.grafana.prometheus import Prometheus
from tests.support.processes import ROOT, environ_for, program
from tests.support.programs import program as installed

pytestmark = pytest.mark.slow

OWN_JOB_TYPE = """
import os, time
from nomad_actors import JobType, Payload, Result

class Nap(Payload):
    seconds: float = 0

class Pid(Result):
    pid: int

def nap(payload: Nap) -> Pid:
    time.sleep(payload.seconds)
    return Pid(pid=os.getpid())

NAP = JobType(name="nap", queue="naps", payload=Nap, result=Pid, run=nap, concurrency=4)
"""

WORKERS = ["nomad_actors.cli", "run", "workers"]
#: As many ports as Prometheus looks at in `prometheus.yml`.
RANGE = 8
WAITS = 'nomad_job_wait_seconds_count{actor="nap",queue="naps"}'
TOTAL = "sum(max by (queue, actor, outcome) ({}(nomad_job_attempts_total{{actor='nap', outcome='completed'}}[1m])))"


@pytest.fixture
def environ(tmp_path: Path, redis_url: str) -> dict[str, str]:
    (tmp_path / "naps.py").write_text(OWN_JOB_TYPE, encoding="utf-8")
    return environ_for(
        tmp_path,
        redis_url,
        NOMAD_MODULES="naps",
        NOMAD_METRICS_PORT=str(free_port()),
        NOMAD_SHUTDOWN_MS="4000",
        PYTHONPATH=f"{tmp_path}:{ROOT}",
    )


@pytest.fixture
def app(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "naps", raising=False)
    app = create_app(Settings.from_env(environ))
    yield app
    app.close()


def scrape(port: int) -> dict[str, float]:
    """Return every sample that a worker serves; empty if it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?service=workers", timeout=5) as response:
            lines = response.read().decode().splitlines()
    except (urllib.error.URLError, ConnectionError):
        return {}
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def names_of_workers(queue: Queue) -> set[str]:
    return {worker.name for worker in queue.snapshot().workers}


def served(environ: dict[str, str]) -> dict[int, dict[str, float]]:
    """Return the samples of each worker on the range of ports."""
    first = int(environ["NOMAD_METRICS_PORT"])
    found = {port: scrape(port) for port in range(first, first + RANGE)}
    return {port: samples for port, samples in found.items() if samples}


def listeners(ports: list[int]) -> dict[int, int]:
    """Return which process listens on each port."""
    found = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return {each.laddr.port: each.pid for each in found if each.laddr.port in ports}


def log_text(directory: Path) -> str:
    return (directory / "output.log").read_text(errors="replace")


def total(app: App, outcome: str) -> float | None:
    """Return how many naps ended with an outcome, as exported by the admin."""
    labels = {"queue": "naps", "actor": "nap", "outcome": outcome}
    return app.registry.get_sample_value("nomad_job_attempts_total", labels)


def test_each_process_serves_its_metrics_and_a_kill_loses_no_count(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    queue, workers = app.queues.get_queue("naps"), [*WORKERS, "--processes", "3"]
    assert total(app, "completed") == total(app, "recovered") == 0
    with program(workers, environ, tmp_path) as service:
        wait_until(lambda: len(served(environ)) == 3, timeout_seconds=60, what=log_text(tmp_path))
        first = served(environ)
        children = {child.pid for child in psutil.Process(service.pid).children()}
        pids = listeners(list(first))
        # Three processes with a port each; the process that they are forked from has none.
        assert len(set(pids.values())) == 3
        assert set(pids.values()) <= children
        addresses = re.findall(r'event="metrics are served" url=http://127.0.0.1:(\d+)/metrics', log_text(tmp_path))
        assert sorted(map(int, addresses)) == sorted(first)
        assert all(samples[WAITS] == 0 for samples in first.values())
        assert "nomad_job_attempts_total" not in str(first)
        app.queues.add_jobs([NewJob(queue="naps", job_type="nap", data={"seconds": 0.02}) for _ in range(300)])
        wait_until(lambda: queue.counts()["completed"] == 300, timeout_seconds=60, what=str(queue.counts()))
        ran = [job.returnvalue["pid"] for job in queue.jobs("completed") if isinstance(job.returnvalue, dict)]
        wait_until(lambda: sum(samples[WAITS] for samples in served(environ).values()) == 300)
        # What each process counted is what it ran, no more and no less.
        assert {pids[port]: samples[WAITS] for port, samples in served(environ).items()} == {
            pid: ran.count(pid) for pid in pids.values()
        }
        assert total(app, "completed") == 300
        # Long enough to be running when their process is killed.
        app.queues.add_jobs([NewJob(queue="naps", job_type="nap", data={"seconds": 1.5}) for _ in range(12)])
        wait_until(lambda: queue.counts()["active"] == 12, timeout_seconds=20)
        psutil.Process(min(pids.values())).kill()
        # Dramatiq's command line exits with any of its processes; a supervisor restarts it.
        service.wait(timeout=30)
    completed = queue.counts()["completed"]
    assert total(app, "completed") == completed
    with program(workers, environ, tmp_path):
        # On ports of the same range.
        wait_until(lambda: len(served(environ)) == 3, timeout_seconds=60, what=log_text(tmp_path))
        wait_until(lambda: total(app, "completed") == 312, timeout_seconds=60, what=str(queue.counts()))
        restarted = served(environ)
        assert sum(samples[WAITS] for samples in restarted.values()) == 312 - completed
        assert 1 <= queue.snapshot().facts.counts.recovered <= 4
        assert total(app, "recovered") == queue.snapshot().facts.counts.recovered
        assert total(app, "released") == 12 - (completed - 300) - queue.snapshot().facts.counts.recovered


def test_prometheus_sees_no_reset_when_a_worker_is_killed(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    queue, admin_port = app.queues.get_queue("naps"), free_port()
    environ["ADMIN_PORT"] = str(admin_port)
    ports = {"workers": int(environ["NOMAD_METRICS_PORT"]), "scheduler": 1, "admin": admin_port}
    (tmp_path / "admin").mkdir()
    (tmp_path / "prometheus").mkdir()
    with (
        program(["nomad_actors.cli", "run", "admin"], environ, tmp_path / "admin"),
        Prometheus(installed("prometheus"), tmp_path / "prometheus", ports) as prometheus,
    ):

        def query(expression: str) -> float | None:
            found = prometheus.ask(expression)
            return float(found[0]["value"][1]) if found else None

        wait_until(lambda: query(TOTAL.format("increase")) == 0, timeout_seconds=60, what=log_text(tmp_path / "admin"))
        for _ in range(2):
            with program(WORKERS, environ, tmp_path) as service:
                app.queues.add_jobs([NewJob(queue="naps", job_type="nap", data={}) for _ in range(50)])
                wait_until(lambda: not queue.counts()["waiting"] + queue.counts()["active"], timeout_seconds=60)
                for child in psutil.Process(service.pid).children(recursive=True):
                    child.kill()
                service.kill()
        wait_until(
            lambda: query("max(nomad_job_attempts_total{actor='nap', outcome='completed'})") == 100,
            timeout_seconds=20,
            what="Prometheus to have scraped the last of them",
        )
        assert query(TOTAL.format("resets")) == 0
        # It reckons a little beyond the samples.
        assert query(TOTAL.format("increase")) == pytest.approx(100, rel=0.3)


@contextmanager
def elsewhere(port: int) -> Iterator[None]:
    """Listen on a port like another program."""
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while port not in listeners([port]):
            assert server.poll() is None
            time.sleep(0.05)
        yield
    finally:
        server.kill()
        server.wait()


def test_workers_and_scheduler_share_a_range_and_skip_a_port_of_another_program(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    first = int(environ["NOMAD_METRICS_PORT"])
    (tmp_path / "scheduler").mkdir()
    with elsewhere(first), program([*WORKERS, "--processes", "2"], environ, tmp_path):
        wait_until(lambda: len(served(environ)) == 2, timeout_seconds=60, what=log_text(tmp_path))
        with program(["nomad_actors.cli", "run", "scheduler"], environ, tmp_path / "scheduler"):
            wait_until(lambda: "metrics are served" in log_text(tmp_path / "scheduler"), timeout_seconds=30)
            (port,) = re.findall(r"url=http://127.0.0.1:(\d+)/metrics", log_text(tmp_path / "scheduler"))
            # It serves only its own metrics, whichever port it has.
            assert int(port) not in served(environ)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?service=scheduler", timeout=5) as response:
                assert b"nomad_scheduler_heartbeat" in response.read()
            assert len(served(environ)) == 2
    taken = [line for line in log_text(tmp_path).splitlines() if "using the next free one" in line]
    assert len(taken) == 2
    assert all(f"taken={first}" in line and "level=info" in line for line in taken)
    assert "level=error" not in log_text(tmp_path)


def test_prometheus_scrapes_the_same_ports() -> None:
    jobs = yaml.safe_load((ROOT / "prometheus.yml").read_text())["scrape_configs"]
    assert len(jobs[0]["static_configs"][0]["targets"]) == RANGE


@pytest.mark.parametrize("command", [["enqueue", "nap", "--seconds", "0"], ["run", "workers"]])
def test_prometheus_clients_files_are_not_created(
    environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None], command: list[str]
) -> None:
    """An earlier release needed the variable; now a missing directory would stop the program."""
    environ["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path / "counts")
    with program(["nomad_actors.cli", *command], environ, tmp_path) as process:
        wait_until(lambda: process.poll() is not None or "metrics are served" in log_text(tmp_path), timeout_seconds=60)
        assert process.poll() in (0, None), log_text(tmp_path)
    assert "Traceback" not in log_text(tmp_path)
    assert not (tmp_path / "counts").exists()


def test_dramatiqs_signal_reloads_everything(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    queue = app.queues.get_queue("naps")
    with program([*WORKERS, "--processes", "2"], environ, tmp_path) as process:
        wait_until(lambda: len(queue.snapshot().workers) == 2, timeout_seconds=60)
        before = names_of_workers(queue)
        process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: (
                len(queue.snapshot().workers) == 2 and not before & {worker.name for worker in queue.snapshot().workers}
            ),
            timeout_seconds=60,
            what=log_text(tmp_path),
        )
        assert process.poll() is None
        wait_until(lambda: len(served(environ)) == 2, timeout_seconds=20)
