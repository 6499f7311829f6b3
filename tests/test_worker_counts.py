"""What workers counted is summed over their processes, and survives them: a counter never goes down."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nomad_actors.app import App, create_app
from nomad_actors.local_redis import free_port
from nomad_actors.queues import NewJob
from nomad_actors.settings import Settings
from tests.processes import ROOT, environ_for, program

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


class Scraper:
    """Reads the workers' metrics, and notes whether any counter was ever seen to go down."""

    def __init__(self, port: str) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._seen: dict[str, float] = {}
        self.went_down: list[str] = []

    def __call__(self) -> dict[str, float]:
        """Return every sample; nothing while nobody answers."""
        try:
            with urllib.request.urlopen(self._url, timeout=5) as answer:
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
        return self().get('nomad_job_attempts_total{actor="nap",outcome="completed",queue="naps"}', 0.0)


def test_counters_of_two_processes_are_one_and_survive_a_kill(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    queue, scrape = app.queues.get_queue("naps"), Scraper(environ["NOMAD_METRICS_PORT"])
    workers = ["nomad_actors.cli", "run", "workers", "--processes", "2"]
    with program(workers, environ, tmp_path) as service:
        wait_until(lambda: len(queue.workers()) == 2 and scrape(), timeout_seconds=60)
        first = scrape()
        assert first['nomad_job_attempts_total{actor="nap",outcome="failed",queue="naps"}'] == 0
        assert len([name for name in first if name.startswith("nomad_build_info")]) == 1
        app.queues.add_jobs([NewJob(queue="naps", job_type="nap", data={"seconds": 0.02}) for _ in range(200)])
        wait_until(lambda: scrape.completed() == 200, timeout_seconds=60, what=str(queue.counts()))
        pids = {job.returnvalue["pid"] for job in queue.jobs("completed") if isinstance(job.returnvalue, dict)}
        assert len(pids) == 2
        # Long enough to be running when its process is killed, so that what was counted is certain.
        app.queues.add_jobs([NewJob(queue="naps", job_type="nap", data={"seconds": 1.5}) for _ in range(8)])
        wait_until(lambda: queue.counts()["active"] == 8, timeout_seconds=20)
        psutil.Process(min(pids)).kill()
        # Dramatiq's command line ends with any of its processes; a supervisor starts it again.
        service.wait(timeout=30)
    with program(workers, environ, tmp_path):
        wait_until(lambda: scrape.completed() == 208, timeout_seconds=60, what=str(queue.counts()))
        last = scrape()
        assert last['nomad_job_duration_seconds_count{actor="nap",queue="naps"}'] == 208
        assert last['nomad_job_duration_seconds_bucket{actor="nap",le="+Inf",queue="naps"}'] == 208
        assert last['nomad_job_duration_seconds_bucket{actor="nap",le="1.0",queue="naps"}'] == 200
        assert (
            last['nomad_job_attempts_total{actor="nap",outcome="recovered",queue="naps"}'] == queue.standing().recovered
        )
        assert 1 <= queue.standing().recovered <= 4
        wait_until(lambda: len(queue.workers()) == 2, timeout_seconds=40)
        # Of the dead one file a kind is left: else each scrape would read every process there ever was.
        counted = sorted(tmp_path.glob("var/metrics/*/counter_*.db"))
        assert len(counted) == 3, counted
    assert scrape.went_down == []


def test_another_process_takes_over_when_the_one_that_serves_is_killed(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    scrape = Scraper(environ["NOMAD_METRICS_PORT"])
    workers = ["nomad_actors.cli", "run", "workers"]
    queue = app.queues.get_queue("naps")
    with program(workers, environ, tmp_path) as first:
        wait_until(lambda: scrape(), timeout_seconds=60)
        app.queues.add_job("naps", "nap", {})
        wait_until(lambda: scrape.completed() == 1, timeout_seconds=30)
        with program(workers, environ, tmp_path):
            wait_until(lambda: len(queue.workers()) == 2, timeout_seconds=60)
            for child in psutil.Process(first.pid).children(recursive=True):
                child.kill()
            first.kill()
            wait_until(lambda: scrape.completed() == 1, timeout_seconds=30)
    assert scrape.went_down == []
