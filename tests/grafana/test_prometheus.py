"""Prometheus accepts our configuration, which names the ports of the services."""

from __future__ import annotations

import subprocess

import yaml

from nomad_actors.middleware.metrics import WORKERS_PORT
from nomad_actors.scheduler.__main__ import DEFAULT_METRICS_PORT
from nomad_actors.settings import Settings
from tests.support.programs import program

from .prometheus import CONFIG


def test_promtool_accepts_the_configuration():
    command = [program("promtool"), "check", "config", str(CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_scrapes_the_ports_that_the_services_use():
    jobs = {job["job_name"]: job for job in yaml.safe_load(CONFIG.read_text())["scrape_configs"]}
    targets = {name: job["static_configs"][0]["targets"] for name, job in jobs.items()}
    assert targets["workers"][0] == f"127.0.0.1:{WORKERS_PORT}"
    # Whoever starts first has the port that the other wants.
    assert targets["workers"] == targets["scheduler"] == [f"127.0.0.1:{WORKERS_PORT + n}" for n in range(8)]
    assert f"127.0.0.1:{DEFAULT_METRICS_PORT}" in targets["scheduler"]
    assert targets["admin"] == [f"127.0.0.1:{Settings().admin_port}"]
    assert [jobs[name]["params"] for name in ("workers", "scheduler")] == [
        {"service": [n]} for n in ("workers", "scheduler")
    ]
