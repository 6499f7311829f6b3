"""The demo's system and a Prometheus with sped-up rules; each part can be killed and restarted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from demo import load
from demo.environment import Ports, child_environ
from demo.programs import Programs
from monitoring.alerts.rule import RUNBOOK
from monitoring.files import texts, write
from nomad_actors.app import create_app
from nomad_actors.processes.local_redis import LocalRedis, free_port
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.scheduler.book import Schedules
from nomad_actors.settings import Settings
from nomad_actors.testing import wait_until

ROOT = Path(__file__).resolve().parent.parent
#: An hour in the alerts takes a minute.
FACTOR = 1 / 60


class WatchedSystem:
    """Redis, sandbox, workers, scheduler, admin and Prometheus as a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.redis = LocalRedis(directory / "redis", append_only=True, ends_with_parent=True)
        self._prometheus_port = free_port()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.redis.start()
            stack.callback(self.redis.kill)
            sandbox_url = stack.enter_context(Programs(self._directory)).start_sandbox()
            ports = Ports(free_port(), {"workers": free_port(), "scheduler": free_port()})
            self._environ = {
                **child_environ(
                    os.environ, directory=self._directory, redis=self.redis, sandbox_url=sandbox_url, ports=ports
                ),
                "NOMAD_MODULES": "chaos.watched_jobs",
                "PYTHONPATH": str(ROOT),
                "LOG_LEVEL": "error",
            }
            self._metrics_ports = {**ports.metrics, "admin": ports.admin}
            self.app = create_app(Settings.from_env(self._environ))
            stack.callback(self.app.close)
            stack.callback(self._end)
            characters = load.save_logins(self.app, sandbox_url)
            for name in ("workers", "scheduler", "admin"):
                self.start(name)
            load.add_first_jobs(characters)
            self._schedule()
            self._start_prometheus()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, name: str) -> None:
        """Start a service."""
        port = self._metrics_ports[name]
        own = {} if name == "admin" else {"NOMAD_METRICS_PORT": str(port)}
        command = [sys.executable, "-m", "nomad_actors.cli", "run", name]
        self._start(name, command, {**self._environ, **own})

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to all processes of a service and wait for its end."""
        process = self._running.pop(name)
        os.killpg(process.pid, number)
        process.wait(timeout=30)

    def firing(self) -> set[str]:
        """Return the names of the firing alerts."""
        alerts = self._query("alerts").get("alerts", [])
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def series(self, query: str) -> list[Any]:
        """Return the result of a query."""
        found: list[Any] = self._query(f"query?query={urllib.request.quote(query)}").get("result", [])  # type: ignore[attr-defined]
        return found

    def _start(self, name: str, command: list[str], environ: Mapping[str, str]) -> None:
        with (self._directory / f"{name}.log").open("ab") as output:
            self._running[name] = subprocess.Popen(
                command,
                env=dict(environ),
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def _schedule(self) -> None:
        """Switch off the schedules of hours and days: their time is not sped up."""
        schedules = self.schedules = Schedules(self.app.queues)
        wait_until(lambda: len(schedules.all()) >= 4, timeout_seconds=30, what="the schedules")
        for state in schedules.all():
            schedules.stop_job(state.schedule.name)

    def _start_prometheus(self) -> None:
        program = shutil.which("prometheus")
        assert program, "prometheus is not installed"
        write(self._directory, texts(factor=FACTOR, runbook=RUNBOOK))
        config = yaml.safe_load((ROOT / "prometheus.yml").read_text())
        config["global"].update(scrape_interval="1s", evaluation_interval="1s")
        config["rule_files"] = [f"{self._directory}/alerts/*.yml"]
        del config["alerting"]
        ports = {**self._metrics_ports, "prometheus": self._prometheus_port}
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
        path = self._directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        command = [program, f"--config.file={path}", f"--storage.tsdb.path={self._directory / 'tsdb'}"]
        command += [f"--web.listen-address=127.0.0.1:{self._prometheus_port}", "--log.level=error"]
        self._start("prometheus", command, os.environ)
        up = "count(up == 1) == 4"
        wait_until(lambda: self.series(up), timeout_seconds=60, what="Prometheus to scrape everything")

    def _query(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._prometheus_port}/api/v1/{path}", timeout=5
            ) as response:
                found: dict[str, Any] = json.load(response)["data"]
        except (urllib.error.URLError, ConnectionError):
            return {}
        return found

    def _end(self) -> None:
        for name in list(self._running):
            self.kill(name)
