"""What workers counted is summed over their processes, and survives them: a counter never goes down."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nomad_actors.app import App, create_app
from nomad_actors.processes.local_redis import free_port
from nomad_actors.queues import NewJob
from nomad_actors.settings import Settings
from tests.support.processes import ROOT, environ_for, program

pytestmark = pytest.mark.slow

OWN_JOB_TYPE = """
import os, time
from nomad_actors import JobType, Payload, Result
from nomad_actors.metrics.definitions import note_esi_error_limit

class Nap(Payload):
    seconds: float = 0
    #: What a gauge is set to.
    left: int = 0

class Pid(Result):
    pid: int

def nap(payload: Nap) -> Pid:
    time.sleep(payload.seconds)
    note_esi_error_limit(payload.left)
    return Pid(pid=os.getpid())

NAP = JobType(name="nap", queue="naps", payload=Nap, result=Pid, run=nap, concurrency=4)
"""


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


COMPLETED = 'nomad_job_attempts_total{actor="nap",outcome="completed",queue="naps"}'
GAUGE = "nomad_esi_error_limit_remaining"
WORKERS = ["nomad_actors.cli", "run", "workers"]


class Scraper:
    """Reads the workers' metrics, and notes whether any counter was ever seen to go down."""

    def __init__(self, port: str) -> None:
        self.url = f"http://127.0.0.1:{port}/metrics"
        self._seen: dict[str, float] = {}
        self.went_down: list[str] = []

    def __call__(self) -> dict[str, float]:
        """Return every sample; nothing while nobody answers."""
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except (urllib.error.URLError, ConnectionError):
            return {}
        samples = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
        for name, value in samples.items():
            if re.match(r"nomad_\w+_(total|count|sum|bucket)", name):
                if value < self._seen.get(name, 0.0):
                    self.went_down.append(f"{name} {self._seen[name]} -> {value}")
                self._seen[name] = value
        return samples

    def completed(self) -> float:
        """Return how many naps completed."""
        return self().get(COMPLETED, 0.0)


def test_counters_of_two_processes_are_one_and_survive_a_kill(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    queue, scrape = app.queues.get_queue("naps"), Scraper(environ["NOMAD_METRICS_PORT"])
    workers = [*WORKERS, "--processes", "2"]

    def held(state: str) -> float | None:
        return app.registry.get_sample_value("nomad_queue_jobs", {"queue": "naps", "state": state})

    with program(workers, environ, tmp_path) as service:
        wait_until(lambda: len(queue.snapshot().workers) == 2 and scrape(), timeout_seconds=60)
        first = scrape()
        assert first['nomad_job_attempts_total{actor="nap",outcome="failed",queue="naps"}'] == 0
        assert len([name for name in first if name.startswith("nomad_build_info")]) == 1
        # Of jobs that no worker here knows, too: the first of them is seen as a rise.
        assert first['nomad_job_attempts_total{actor="unknown",outcome="failed",queue="naps"}'] == 0
        app.queues.add_jobs(
            [NewJob(queue="naps", job_type="nap", data={"seconds": 0.02, "left": 50}) for _ in range(200)]
        )
        wait_until(lambda: scrape.completed() == 200, timeout_seconds=60, what=str(queue.counts()))
        pids = {job.returnvalue["pid"] for job in queue.jobs("completed") if isinstance(job.returnvalue, dict)}
        assert len(pids) == 2
        assert scrape()[GAUGE] == 50
        # Long enough to be running when its process is killed, so that what was counted is certain.
        app.queues.add_jobs([NewJob(queue="naps", job_type="nap", data={"seconds": 1.5, "left": 7}) for _ in range(8)])
        wait_until(lambda: queue.counts()["active"] == 8, timeout_seconds=20)
        psutil.Process(min(pids)).kill()
        # Dramatiq's command line ends with any of its processes; a supervisor starts it again.
        service.wait(timeout=30)
    # The jobs of the one that was killed; the other's completed or were given back.
    assert held("active") == 4
    completed = held("completed")
    assert completed + held("waiting") == 204
    with program(workers, environ, tmp_path):
        wait_until(lambda: scrape(), timeout_seconds=60)
        # What a dead process set is no more, until the jobs that it left set it again.
        again = scrape()
        assert GAUGE not in again or again[COMPLETED] > completed
        wait_until(lambda: scrape.completed() == 208, timeout_seconds=60, what=str(queue.counts()))
        last = scrape()
        assert last['nomad_job_duration_seconds_count{actor="nap",queue="naps"}'] == 208
        assert last['nomad_job_duration_seconds_bucket{actor="nap",le="+Inf",queue="naps"}'] == 208
        assert last['nomad_job_duration_seconds_bucket{actor="nap",le="1.0",queue="naps"}'] == 200
        assert (
            last['nomad_job_attempts_total{actor="nap",outcome="recovered",queue="naps"}']
            == queue.snapshot().facts.counts.recovered
        )
        assert 1 <= queue.snapshot().facts.counts.recovered <= 4
        assert last[GAUGE] == 7
        assert (held("active"), held("waiting"), held("completed")) == (0, 0, 208)
        wait_until(lambda: len(queue.snapshot().workers) == 2, timeout_seconds=40)
        assert app.registry.get_sample_value("nomad_queue_workers", {"queue": "naps"}) == 2
        assert app.registry.get_sample_value("nomad_queue_longest_active_seconds", {"queue": "naps"}) == 0
        # Of the dead one file a kind is left: else each scrape would read every process there ever was.
        counted = sorted(tmp_path.glob("var/metrics/*/counter_*.db"))
        assert len(counted) == 3, counted
    assert scrape.went_down == []


def test_another_process_takes_over_when_the_one_that_serves_is_killed(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    scrape = Scraper(environ["NOMAD_METRICS_PORT"])
    queue = app.queues.get_queue("naps")
    with program(WORKERS, environ, tmp_path) as first:
        wait_until(lambda: scrape(), timeout_seconds=60)
        app.queues.add_job("naps", "nap", {})
        wait_until(lambda: scrape.completed() == 1, timeout_seconds=30)
        with program(WORKERS, environ, tmp_path):
            wait_until(lambda: len(queue.snapshot().workers) == 2, timeout_seconds=60)
            for child in psutil.Process(first.pid).children(recursive=True):
                child.kill()
            first.kill()
            wait_until(lambda: scrape.completed() == 1, timeout_seconds=30)
    assert scrape.went_down == []


def said(directory: Path) -> str:
    return (directory / "output.log").read_text(errors="replace")


def test_workers_run_without_a_place_for_their_counts(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    (tmp_path / "file").touch()
    environ["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path / "file" / "below")
    # All services share the variable.
    environ["NOMAD_METRICS_PORT"] = "0"
    with program(["nomad_actors.cli", "run", "all"], environ, tmp_path):
        job = app.queues.add_job("naps", "nap", {})
        queue = app.queues.get_queue("naps")
        wait_until(lambda: queue.counts()["completed"] == 1, timeout_seconds=60, what=said(tmp_path))
        wait_until(
            lambda: any(
                _sample(url, COMPLETED) == 1 for url in re.findall(r"url=(http://\S+/metrics)", said(tmp_path))
            ),
            timeout_seconds=20,
            what=f"{job.id} is counted",
        )
    (line,) = [line for line in said(tmp_path).splitlines() if "begin at zero with each of them" in line]
    assert re.match(r"timestamp=\S+ level=warning module=nomad_actors.cli ", line)
    assert "below cannot be written" in line


def _sample(url: str, name: str) -> float | None:
    with urllib.request.urlopen(url, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} ")), None)


def test_a_directory_that_is_removed_costs_counts_and_no_scrape(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    scrape, queue = Scraper(environ["NOMAD_METRICS_PORT"]), app.queues.get_queue("naps")
    with program(WORKERS, environ, tmp_path):
        wait_until(lambda: scrape(), timeout_seconds=60)
        shutil.rmtree(tmp_path / "var" / "metrics")
        samples = scrape()
        assert [name for name in samples if name.startswith("nomad_build_info")]
        assert COMPLETED not in samples
        app.queues.add_job("naps", "nap", {})
        wait_until(lambda: queue.counts()["completed"] == 1, timeout_seconds=30)
        assert scrape()
    assert said(tmp_path).count("counts cannot be read, and are left out") == 1


@pytest.mark.parametrize("there", [True, False])
def test_an_operators_command_leaves_nothing_among_the_counts(
    environ: dict[str, str], tmp_path: Path, there: bool
) -> None:
    counts = tmp_path / "counts"
    if there:
        counts.mkdir()
    # One that counts what it adds.
    done = subprocess.run(
        [sys.executable, "-m", "nomad_actors.cli", "enqueue", "nap", "--seconds", "0"],
        env={**environ, "PROMETHEUS_MULTIPROC_DIR": str(counts)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "unexpected" not in done.stderr
    assert not there or list(counts.iterdir()) == []


def test_dramatiqs_own_signal_loads_everything_anew(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    queue = app.queues.get_queue("naps")
    with program([*WORKERS, "--processes", "2"], environ, tmp_path) as process:
        wait_until(lambda: len(queue.snapshot().workers) == 2, timeout_seconds=60)
        before = {worker.name for worker in queue.snapshot().workers}
        process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: (
                len(queue.snapshot().workers) == 2 and not before & {worker.name for worker in queue.snapshot().workers}
            ),
            timeout_seconds=60,
            what=said(tmp_path),
        )
        assert process.poll() is None
