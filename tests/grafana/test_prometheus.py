"""Prometheus accepts our configuration, which names the ports of the services."""

from __future__ import annotations

import subprocess

from nomad_actors.metrics.place import WORKERS_PORT
from nomad_actors.settings import Settings
from tests.programs import program

from .prometheus import CONFIG


def test_promtool_accepts_the_configuration():
    command = [program("promtool"), "check", "config", str(CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_scrapes_the_ports_that_the_services_use():
    text = CONFIG.read_text()
    assert f"127.0.0.1:{WORKERS_PORT}" in text
    assert f"127.0.0.1:{Settings().admin_port}" in text
