"""docker-compose.yml is valid for Docker Compose, and the commands of its containers work as local processes."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests
import yaml

from nomad_actors.app import open_queues
from nomad_actors.processes.local_redis import free_port
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.settings import Settings
from nomad_actors.settings.admin_tokens import digest_of
from tests.support.processes import ROOT
from tests.support.programs import program

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-the-tests-alone"
#: Required variables of `.env`; the others have defaults.
ENV = {
    "POSTGRES_PASSWORD": "secret",
    "ESI_USER_AGENT": "nomad-tests/1 (tests@example.com)",
    "GRAFANA_PASSWORD": "secret",
    "NOMAD_TOKEN_KEYS": secrets.token_urlsafe(32),
    "REDIS_PASSWORD": secrets.token_hex(24),
    "NOMAD_ADMIN_TOKENS": f"prometheus:viewer:{digest_of(TOKEN)}",
    "ALERTMANAGER_CONFIG": "./grafana",
}
OURS = ("workers", "scheduler-1", "scheduler-2", "admin")

WaitUntil = Callable[..., None]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services as Docker Compose understands them, variables filled in."""
    result = subprocess.run(
        [program("docker-compose"), "--file", str(ROOT / "docker-compose.yml"), "config"],
        env={"PATH": os.environ["PATH"], **ENV},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    # The output escapes dollar signs like the file.
    services: dict[str, Any] = yaml.safe_load(result.stdout.replace("$$", "$"))["services"]
    return services


@pytest.fixture
def redis_port(compose: Mapping[str, Any], tmp_path: Path, wait_until: WaitUntil) -> Iterator[int]:
    """The port of a Redis with the command, environment and health check of the file."""
    port, service = free_port(), compose["redis"]
    directory = tmp_path / "redis"
    directory.mkdir()
    arguments = ["--port", str(port), "--bind", "127.0.0.1"]
    with container({**service, "command": [*service["command"], *arguments]}, directory):
        check = [program("redis-cli"), "-p", str(port), *service["healthcheck"]["test"][2:]]
        environ = {"PATH": os.environ["PATH"], **service["environment"]}
        wait_until(
            lambda: subprocess.run(check, env=environ, capture_output=True, check=False).returncode == 0,
            timeout_seconds=15,
            what="Redis is healthy",
        )
        yield port


@pytest.mark.parametrize("missing", sorted(ENV))
def test_a_missing_secret_stops_the_start(compose: Mapping[str, Any], missing: str) -> None:
    result = subprocess.run(
        [program("docker-compose"), "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        env={"PATH": os.environ["PATH"], **{name: value for name, value in ENV.items() if name != missing}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode != 0
    assert missing in result.stderr


def test_every_service_exists_and_publishes_only_on_loopback(compose: Mapping[str, Any]) -> None:
    assert set(compose) == {*OURS, "redis", "postgres", "prometheus", "alertmanager", "grafana"}
    assert compose["scheduler-1"] == compose["scheduler-2"]
    open_ports = [str(port) for service in compose.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in open_ports), open_ports


def test_mounted_files_exist(compose: Mapping[str, Any]) -> None:
    mounted = [str(volume).split(":")[0] for service in compose.values() for volume in service.get("volumes", ())]
    files = [Path(path) for path in mounted if path.startswith("/")]
    assert files
    assert [str(path) for path in files if not path.exists()] == []


@contextmanager
def container(service: Mapping[str, Any], directory: Path, **overrides: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a service's command with its environment, except for the addresses of other services."""
    environ = {
        **{name: "" if value is None else str(value) for name, value in service["environment"].items()},
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "HOME": str(directory),
        "PYTHONPATH": str(ROOT),
        "NOMAD_VAR_DIR": str(directory / "var"),
        **overrides,
    }
    with (directory / "output.log").open("ab") as output:
        process = subprocess.Popen(
            service["command"],
            env=environ,
            cwd=directory,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        process.wait(timeout=40)
        # Docker would kill it after this time.
        assert time.monotonic() - began < 10
        assert not psutil.pid_exists(process.pid)


def test_the_commands_of_the_containers_work_as_processes(
    compose: Mapping[str, Any], redis_port: int, postgres_url: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    redis_address = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis_port)}
    addresses = {**redis_address, "DATABASE_URL": postgres_url}
    metrics, admin = str(free_port()), str(free_port())
    extra = {"REDIS_PASSWORD": ENV["REDIS_PASSWORD"], "NOMAD_VAR_DIR": str(tmp_path)}
    access = open_queues(Settings.from_env({**addresses, **extra}))
    with (
        container(compose["workers"], tmp_path, **addresses, NOMAD_METRICS_PORT=metrics),
        container(compose["scheduler-1"], tmp_path, **redis_address, NOMAD_METRICS_PORT="0"),
        container(compose["scheduler-2"], tmp_path, **redis_address, NOMAD_METRICS_PORT="0"),
        container(compose["admin"], tmp_path, **addresses, ADMIN_PORT=admin),
    ):
        queue = access.queues.get_queue("cache-cleanup")
        job_id = access.queues.add_job("cache-cleanup", "cache-cleanup", {"type": "expired"}).id
        wait_until(
            lambda: (job := queue.get(job_id)) is not None and job.status == "completed",
            timeout_seconds=60,
            what="a job to complete",
        )
        schedule_book = access.queues.broker.schedules()
        wait_until(lambda: len(schedule_book.schedulers()) == 2, timeout_seconds=30, what="both schedulers")
        wait_until(
            lambda: reached(lambda: requests.get(f"http://127.0.0.1:{metrics}/metrics", timeout=10)),
            timeout_seconds=30,
            what="the workers' metrics",
        )
        assert "nomad_job_wait_seconds" in requests.get(f"http://127.0.0.1:{metrics}/metrics", timeout=10).text
        url = f"http://127.0.0.1:{admin}"
        wait_until(lambda: is_up(url), timeout_seconds=30, what="the admin")
        assert requests.get(f"{url}/metrics", timeout=10).status_code == 401
        # Like Prometheus: with the container's name and the viewer's token.
        result = requests.get(
            f"{url}/metrics", headers={"Host": "admin:3000", "Authorization": f"Bearer {TOKEN}"}, timeout=10
        )
        assert "nomad_collector_success" in result.text
        # `docker compose run --rm workers nomad …` uses a new container without files.
        for command in (["nomad", "doctor"], ["nomad", "queues"]):
            operators = {**compose["workers"], "command": command}
            with container(operators, tmp_path, **addresses) as process:
                process.wait(timeout=60)
            assert process.returncode == 0, (tmp_path / "output.log").read_text()[-2000:]
    access.close()


def is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


def test_redis_has_the_settings_of_its_command_line(redis_port: int) -> None:
    address = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis_port), "REDIS_PASSWORD": ENV["REDIS_PASSWORD"]}
    access = open_queues(Settings.from_env(address))
    facts = access.broker.server()
    assert (facts.memory_policy, facts.append_only) == ("noeviction", True)
    # Without a limit no alert about its memory could fire.
    assert facts.max_memory_bytes == 2 << 30
    access.close()


def test_redis_needs_its_password_which_no_command_line_shows(redis_port: int) -> None:
    with redis.Redis(port=redis_port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    (server,) = [each for each in psutil.net_connections("tcp") if each.laddr[1:] == (redis_port,) and not each.raddr]
    assert ENV["REDIS_PASSWORD"] not in " ".join(psutil.Process(server.pid).cmdline())


def test_a_service_has_only_the_secrets_that_it_uses(compose: Mapping[str, Any]) -> None:
    environs = {name: service.get("environment") or {} for name, service in compose.items()}
    holders = {
        variable: {name for name, environ in environs.items() if variable in environ}
        for variable in ("NOMAD_TOKEN_KEYS", "EVE_CLIENT_SECRET", "SENTRY_DSN", "NOMAD_ADMIN_TOKENS", "DATABASE_URL")
    }
    assert holders == {
        "NOMAD_TOKEN_KEYS": {"workers"},
        "EVE_CLIENT_SECRET": {"workers"},
        "SENTRY_DSN": {"workers"},
        "NOMAD_ADMIN_TOKENS": {"admin"},
        "DATABASE_URL": {"workers", "admin"},
    }
    for name, secret in (("redis", "REDIS_PASSWORD"), ("postgres", "POSTGRES_PASSWORD")):
        shown = [(at, str(service)) for at, service in compose.items() if ENV[secret] in str(service.get("command"))]
        assert not shown, name


def test_only_services_that_need_the_internet_can_reach_it(compose: Mapping[str, Any]) -> None:
    members = {name: set(service["networks"]) for name, service in compose.items()}
    assert {name for name, networks in members.items() if "outward" in networks} == {"workers", "alertmanager"}
    assert {name for name, networks in members.items() if networks == {"data"}} == {"redis", "postgres"}
    published = {name for name, service in compose.items() if service.get("ports")}
    assert all("front" in members[name] for name in published)
    networks = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["networks"]
    assert networks["data"] == {"internal": True}
    assert networks["front"]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}


def reached(ask: Callable[[], Any]) -> bool:
    try:
        ask()
    except Exception:
        return False
    return True


@pytest.mark.parametrize("config", ["docker/prometheus.yml", "prometheus.yml"])
def test_prometheus_accepts_its_configuration(config: str, tmp_path: Path) -> None:
    promtool = program("promtool")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    text = (ROOT / config).read_text().replace("/run/secrets/prometheus-token", str(token))
    text = text.replace("/etc/prometheus/alerts", str(ROOT / "grafana/alerts"))
    (tmp_path / "prometheus.yml").write_text(text)
    result = subprocess.run(
        [promtool, "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_both_prometheus_have_the_same_jobs() -> None:
    def jobs(config: str) -> list[str]:
        return [job["job_name"] for job in yaml.safe_load((ROOT / config).read_text())["scrape_configs"]]

    assert jobs("docker/prometheus.yml") == jobs("prometheus.yml")
