"""Workers, scheduler and admin as processes, and work that changes every exported metric."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

import requests
from prometheus_client.parser import text_string_to_metric_families

from nomad_actors import Priority, cleanup_cache, refresh_character_token, refresh_esi_data
from nomad_actors.app import create_app
from nomad_actors.jobs.esi_check import ESI_CHECK, EsiCheckPayload
from nomad_actors.processes.local_redis import LocalRedis, free_port
from nomad_actors.settings import Settings
from nomad_actors.testing import wait_until
from sandbox.serve import SandboxServer
from tests.support.operator import as_operator
from tests.support.processes import environ_for, program

_METRICS = ("workers", "scheduler", "admin")
START_SECONDS = 30
#: Players that log in one by one: fresh data is not requested again for minutes, so each round needs a new one.
CHARACTERS = 150


class System:
    """The processes as a context manager; `work()` adds work of every kind."""

    def __init__(self, directory: Path) -> None:
        self.redis = LocalRedis(directory / "redis", append_only=True)
        self.ports = {name: free_port() for name in _METRICS}
        self._directory = directory
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.start_redis()
            stack.callback(self.redis.kill)
            sandbox = stack.enter_context(SandboxServer(seed=6, characters=CHARACTERS))
            environ = self._environ(sandbox.base_url)
            self._app = create_app(Settings.from_env(environ))
            stack.callback(self._app.close)
            self._logins = iter(requests.get(f"{sandbox.base_url}/sandbox/logins", timeout=10).json())
            self._log_in()
            for name in _METRICS:
                own = {"NOMAD_METRICS_PORT": str(self.ports[name]), "ADMIN_PORT": str(self.ports["admin"])}
                stack.enter_context(self._program(name, {**environ, **own}))
            wait_until(self._is_up, timeout_seconds=START_SECONDS, what="every service answers a scrape")
            self._post("queues/held/pause", {"reason": "to be seen on a dashboard"})
            self._run_schedules()
            ESI_CHECK.enqueue(EsiCheckPayload())
            wait_until(lambda: "nomad_esi_drift" in self.exported(), timeout_seconds=START_SECONDS, what="the check")
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def start_redis(self) -> None:
        """Start the queues' Redis with a memory limit."""
        self.redis.start("--maxmemory", "256mb")

    def work(self) -> None:
        """Log another character in, and add jobs that complete, fail, and fail once."""
        self._log_in()
        cleanup_cache("expired")
        for ending in ("complete", "complete", "fail", "retry"):
            self._app.queues.add_job("mixed", "mixed", {"ending": ending})
        self._app.queues.add_job("held", "held", {"ending": "complete"})

    def exported(self) -> dict[str, set[str]]:
        """Return the exported samples' names with their labels and those of a scrape."""
        labels: dict[str, set[str]] = {}
        for port in self.ports.values():
            for family in text_string_to_metric_families(self._scrape(port)):
                for sample in family.samples:
                    labels.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
        return labels

    def _log_in(self) -> None:
        """Save the login of the next character, and refresh its token and wallet."""
        login = next(self._logins, None)
        if login is None:
            return
        fields = ("character_id", "user_id", "name", "owner_hash", "scopes", "refresh_token")
        self._app.store.logins.save(**{field: login[field] for field in fields})
        character = login["character_id"], login["user_id"]
        refresh_character_token(*character, Priority.HIGH)
        refresh_esi_data(*character, "/characters/{character_id}/wallet", requested_by="user")

    def _environ(self, esi: str) -> dict[str, str]:
        return environ_for(
            self._directory,
            self.redis.url,
            ESI_BASE_URL=esi,
            SSO_BASE_URL=esi,
            EVE_CLIENT_ID="sandbox-client",
            EVE_CLIENT_SECRET="sandbox-secret",
            NOMAD_SHUTDOWN_MS="2000",
            NOMAD_MODULES="tests.grafana.job_types",
        )

    def _program(self, name: str, environ: Mapping[str, str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
        work_directory = self._directory / name
        work_directory.mkdir()
        return program(["nomad_actors.cli", "run", name], environ, work_directory)

    def _is_up(self) -> bool:
        try:
            return all(self._scrape(port) for port in self.ports.values())
        except requests.RequestException:
            return False

    def _scrape(self, port: int) -> str:
        response = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
        response.raise_for_status()
        return response.text

    def _post(self, path: str, body: Mapping[str, object]) -> None:
        address = f"http://127.0.0.1:{self.ports['admin']}/admin/jobs/{path}"
        response = requests.post(address, json=body, headers=as_operator(self._app.settings.var_dir), timeout=10)
        assert response.ok, response.text

    def _run_schedules(self) -> None:
        """Run every schedule now and wait until each job has completed once."""
        for name in ("token-refresh", "esi-data-refresh", "historical-data-collection", "cache-cleanup"):
            self._post(f"scheduler/{name}/run", {"force": True})
        last = "nomad_schedule_last_success_timestamp_seconds{"
        wait_until(
            lambda: self._scrape(self.ports["admin"]).count(last) == 4,
            timeout_seconds=START_SECONDS,
            what="every schedule's job completes",
        )
