"""Prometheus, Alertmanager and PostgreSQL as in docker-compose.yml, with the programs of this machine.

Container paths are replaced by local ones, from its volumes and secrets; ports are free ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from nomad_actors.clock import SystemClock
from nomad_actors.processes.local_redis import free_port
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.store import Store, TokenCipher
from tests.support import postgres as server
from tests.support.processes import ROOT
from tests.support.programs import program

from .test_compose import TOKEN, WaitUntil, compose

__all__ = ["compose"]


def local_paths(service: Mapping[str, Any], directory: Path) -> dict[str, Path]:
    """Return the local path of each container path; named volumes are empty directories."""
    found = {}
    for volume in service["volumes"]:
        source, inside, *_ = (volume["source"], volume["target"]) if isinstance(volume, dict) else volume.split(":")
        found[inside] = Path(source) if source.startswith("/") else directory / source
    return found


def with_local_paths(text: str, paths: Mapping[str, Path]) -> str:
    """Return a text with container paths replaced by local ones."""
    longest_first = "|".join(re.escape(inside) for inside in sorted(paths, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])(?:{longest_first})(?![\w.-])", lambda found: str(paths[found[0]]), text)


@contextmanager
def running(command: Sequence[str], directory: Path) -> Iterator[None]:
    """Run a program inside a `with` block; its output is in `output.log`."""
    with (directory / "output.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=directory, preexec_fn=end_with_parent)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def is_up(url: str) -> bool:
    """Return whether a service is ready."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def test_prometheus_runs_with_its_configuration(
    compose: Mapping[str, Any], tmp_path: Path, wait_until: WaitUntil
) -> None:
    service, port = compose["prometheus"], free_port()
    paths = local_paths(service, tmp_path)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    # Its configuration contains container paths too.
    config = tmp_path / "prometheus.yml"
    config.write_text(
        with_local_paths(
            paths["/etc/prometheus/prometheus.yml"].read_text(), {**paths, "/run/secrets/prometheus-token": token}
        )
    )
    paths["/etc/prometheus/prometheus.yml"] = config
    command = [program("prometheus"), *(with_local_paths(word, paths) for word in service["command"])]
    with running([*command, f"--web.listen-address=127.0.0.1:{port}"], tmp_path):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_up(f"{url}/-/ready"), timeout_seconds=30, what="Prometheus is ready")

        def get_api(path: str) -> Any:
            return requests.get(f"{url}/api/v1/{path}", timeout=5).json()["data"]

        written = [yaml.safe_load(path.read_text()) for path in (ROOT / "grafana" / "alerts").glob("*.yml")]
        groups = {group["name"] for each in written for group in each["groups"]}
        assert {group["name"] for group in get_api("rules")["groups"]} == groups
        assert get_api("status/flags")["storage.tsdb.retention.time"] == "30d"
        # Workers are found by a name that does not exist here.
        jobs = {"scheduler", "admin", "prometheus"}
        wait_until(
            lambda: {each["labels"]["job"] for each in get_api("targets")["activeTargets"]} == jobs, timeout_seconds=30
        )
        managers = [{"url": "http://alertmanager:9093/api/v2/alerts"}]
        wait_until(lambda: get_api("alertmanagers")["activeAlertmanagers"] == managers, timeout_seconds=30)


def test_alertmanager_runs_with_the_example(compose: Mapping[str, Any], tmp_path: Path, wait_until: WaitUntil) -> None:
    service, port = compose["alertmanager"], free_port()
    paths = local_paths(service, tmp_path)
    # As in docs/deployment.md: a directory with a copy of the example and the files that it names.
    paths["/etc/alertmanager"] = tmp_path / "own"
    paths["/etc/alertmanager"].mkdir()
    example = (ROOT / "grafana" / "alertmanager.example.yml").read_text()
    (paths["/etc/alertmanager"] / "alertmanager.yml").write_text(with_local_paths(example, paths))
    (paths["/etc/alertmanager"] / "smtp-password").write_text("secret")
    command = [program("prometheus-alertmanager"), *(with_local_paths(word, paths) for word in service["command"])]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with running(command, tmp_path):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_up(f"{url}/-/ready"), timeout_seconds=30, what="Alertmanager is ready")
        config = requests.get(f"{url}/api/v2/status", timeout=5).json()["config"]["original"]
        assert {route["receiver"] for route in yaml.safe_load(config)["route"]["routes"]} == {"pager", "mail"}
        # The name and port that Prometheus uses.
        assert "alertmanager:9093" in (ROOT / "docker" / "prometheus.yml").read_text()
        assert "9093" in str(service["ports"])


@pytest.fixture(scope="module")
def programs() -> Path:
    """The directory of PostgreSQL's programs."""
    return server.programs()


@pytest.fixture
def postgres(compose: Mapping[str, Any], programs: Path) -> Iterator[int]:
    """The port of a PostgreSQL initialised like in its image, with the service's environment."""
    environ, port = compose["postgres"]["environment"], free_port()
    with tempfile.TemporaryDirectory(prefix="nomad-postgres-") as name:
        directory = Path(name)
        (directory / "password").write_text(environ["POSTGRES_PASSWORD"])
        # PostgreSQL refuses to run as root.
        user = "nobody" if os.getuid() == 0 else None
        for path in (directory, directory / "password"):
            if user:
                shutil.chown(path, user)
        initdb_options = ["--pgdata=data", f"--username={environ['POSTGRES_USER']}", "--pwfile=password"]

        def run(tool: str, *arguments: str) -> None:
            command = [str(programs / tool), *arguments]
            subprocess.run(command, cwd=directory, user=user, check=True, stdout=subprocess.DEVNULL)

        run("initdb", *initdb_options, "--auth=scram-sha-256", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        run("pg_ctl", "--pgdata=data", "-w", "-o", options, "-l", "log", "start")
        try:
            yield port
        finally:
            run("pg_ctl", "--pgdata=data", "-m", "immediate", "stop")


def test_postgres_accepts_the_services_and_its_health_check_passes(
    compose: Mapping[str, Any], postgres: int, programs: Path
) -> None:
    service, url = compose["postgres"], compose["workers"]["environment"]["DATABASE_URL"]
    _, tool, *arguments = service["healthcheck"]["test"]
    subprocess.run([programs / tool, *arguments, "--host=127.0.0.1", f"--port={postgres}"], check=True)
    local_url = url.replace("@postgres:5432/", f"@127.0.0.1:{postgres}/")
    assert local_url != url
    # The image creates this database; here the same user does.
    database = service["environment"]["POSTGRES_DB"]
    make = [programs / "createdb", f"--maintenance-db={local_url.rpartition('/')[0]}/postgres", database]
    subprocess.run(make, check=True)
    store = Store(local_url, cipher=TokenCipher(["a key for tests"]), clock=SystemClock())
    store.migrate()
    assert store.logins.counts()["active"] == 0
    store.close()
    wrong = re.sub(r"(//\w+:)[^@]+@", r"\1wrong@", local_url)
    refused = subprocess.run([programs / "psql", wrong, "--command=SELECT 1"], capture_output=True, check=False)
    assert refused.returncode != 0
