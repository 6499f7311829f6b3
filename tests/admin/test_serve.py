"""The program `python -m admin`: start, URL, graceful stop, errors, and the page in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from admin import serve
from nomad_actors.app import open_queues
from nomad_actors.errors import CannotStart
from nomad_actors.processes.local_redis import free_port
from nomad_actors.queues.bulk import BulkRequest, Operations
from nomad_actors.queues.bulk.runner import POLL_SECONDS
from nomad_actors.queues.search import JobFilter
from nomad_actors.settings import Settings
from nomad_actors.settings.addresses import local_url
from tests.support.operator import as_operator

pytestmark = pytest.mark.slow


@dataclass
class Running:
    """An admin in its own process."""

    process: subprocess.Popen[str]
    url: str


def environment(tmp_path: Path, redis_url: str, **more: str) -> dict[str, str]:
    own = {
        "REDIS_URL": redis_url,
        "NOMAD_VAR_DIR": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path}/nomad.db",
        "ADMIN_PORT": "0",
        "HOME": str(tmp_path),
    }
    return {"PATH": os.environ["PATH"], **own, **more}


def start(tmp_path: Path, redis_url: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "admin", *arguments],
        env=environment(tmp_path, redis_url, **more),
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def admin(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[Running]:
    """An admin that is ready."""
    ready = tmp_path / "ready"
    process = start(tmp_path, redis_url, "--ready-file", str(ready))
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        yield Running(process, ready.read_text().strip())
    finally:
        process.terminate()
        process.communicate(timeout=15)


def test_it_serves_at_its_url_and_stops_cleanly(
    admin: Running, tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    assert requests.get(f"{admin.url}/readyz", timeout=10).json()["ready"] is True
    assert requests.get(f"{admin.url}/admin/", timeout=10).status_code == 200
    assert "nomad_queue_jobs{" in requests.get(f"{admin.url}/metrics", timeout=10).text
    chunks = (b" " * 65_536 for _ in range(32))
    kind = {"Content-Type": "application/json"}
    added = f"{admin.url}/admin/jobs/queues/token-refresh/jobs"
    headers = kind | as_operator(tmp_path)
    assert requests.post(added, data=chunks, headers=headers, timeout=10).status_code == 413
    assert requests.get(admin.url, headers={"Host": "evil.example"}, timeout=10).status_code == 403
    admin.process.send_signal(signal.SIGTERM)
    _, log = admin.process.communicate(timeout=15)
    assert admin.process.returncode == 0
    lines = log.splitlines()
    assert any(f"url={admin.url}/admin/" in line for line in lines)
    # The login link in the log works for one browser, also after a restart.
    (link,) = re.findall(r"(http[^\s\"]+/admin/login\?once=[\w.-]+)", log)
    ready, (_, _, code) = tmp_path / "again", link.partition("/admin/login")
    with ended(start(tmp_path, redis_url, "--ready-file", str(ready))):
        wait_until(ready.exists, timeout_seconds=60)
        login = f"{ready.read_text().strip()}/admin/login{code}"
        with requests.Session() as browser:
            assert "local, operator" in browser.get(login, timeout=10).text
    ready.unlink()
    with ended(start(tmp_path, redis_url, "--ready-file", str(ready))):
        wait_until(ready.exists, timeout_seconds=60)
        login = f"{ready.read_text().strip()}/admin/login{code}"
        assert requests.get(login, timeout=10).status_code == 401
    assert [n for n, line in enumerate(lines) if "admin stopped" in line] == [len(lines) - 1]
    assert all(line.startswith("timestamp=") for line in lines), log


def test_an_open_request_is_finished_before_the_stop(admin: Running, tmp_path: Path) -> None:
    address = urlsplit(admin.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = b""
        while not response.endswith(b"}\n"):
            response += client.recv(10_000)
        assert b"200 OK" in response
        pause = b"POST /admin/jobs/queues/cache-cleanup/pause HTTP/1.1\r\nHost: localhost\r\n"
        pause += b"Authorization: " + as_operator(tmp_path)["Authorization"].encode() + b"\r\n"
        client.sendall(pause + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{")
        # One thread reads all connections: after this response it has read the request above.
        assert requests.get(f"{admin.url}/healthz", timeout=10).status_code == 200
        admin.process.send_signal(signal.SIGTERM)
        client.sendall(b"}")
        response = b"".join(iter(lambda: client.recv(10_000), b""))
    assert response.startswith(b"HTTP/1.1 200 OK")
    _, log = admin.process.communicate(timeout=15)
    assert admin.process.returncode == 0
    assert re.search(r"event=change .* path=/admin/jobs/queues/cache-cleanup/pause status=200", log)


def test_a_taken_port_is_reported_with_a_remedy(tmp_path: Path, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, redis_url, ADMIN_PORT=str(port))
        _, log = process.communicate(timeout=30)
    assert process.returncode == 78
    assert f"port {port} on 127.0.0.1 is taken" in log
    assert "ADMIN_PORT" in log
    assert "Traceback" not in log


def test_a_wrong_setting_ends_it_with_code_2(tmp_path: Path, redis_url: str) -> None:
    process = start(tmp_path, redis_url, ADMIN_PORT="http")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "ADMIN_PORT is 'http'" in log


@pytest.mark.parametrize("program", [["admin"], ["nomad_actors.cli", "run", "all"]])
def test_a_public_address_without_tokens_is_refused(tmp_path: Path, redis_url: str, program: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *program],
        env=environment(tmp_path, redis_url, ADMIN_HOST="0.0.0.0"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, "NOMAD_ADMIN_TOKENS is not set" in done.stderr) == (2, True), done.stderr


def test_without_redis_it_starts_and_logs_what_to_do(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    ready = tmp_path / "ready"
    process = start(tmp_path, f"redis://127.0.0.1:{free_port()}/0", "--ready-file", str(ready))
    wait_until(ready.exists, timeout_seconds=60)
    url = ready.read_text().strip()
    assert requests.get(f"{url}/healthz", timeout=10).status_code == 200
    assert requests.get(f"{url}/readyz", timeout=10).status_code == 503
    process.terminate()
    _, log = process.communicate(timeout=15)
    assert "does not answer" in log
    assert "REDIS_URL" in log


def test_an_address_of_another_host_is_refused_with_a_remedy() -> None:
    with pytest.raises(CannotStart, match="ADMIN_HOST"):
        serve.listen("192.0.2.1", 0)


def test_the_base_url_of_a_wildcard_address_is_loopback() -> None:
    with serve.listen("0.0.0.0", 0) as listener:
        assert local_url(*listener.getsockname()[:2]) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_it_runs_bulk_operations_unless_it_is_read_only(
    tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    access = open_queues(Settings.from_env(environment(tmp_path, redis_url)))
    queue, operations = access.queues.get_queue("cache-cleanup"), Operations(access.queues)
    for _ in range(3):
        access.queues.add_job("cache-cleanup", "cache-cleanup", {"type": "expired"})
    request = BulkRequest(action="cancel", job_filter=JobFilter(states=("waiting",)), by="ada")
    started = operations.begin("cache-cleanup", request)
    ready = tmp_path / "ready"
    with ended(start(tmp_path, redis_url, "--ready-file", str(ready), NOMAD_ADMIN_READ_ONLY="1")):
        wait_until(ready.exists, timeout_seconds=60)
        url = ready.read_text().strip()
        # Twice the interval at which the runner looks for operations.
        end = time.monotonic() + 2 * POLL_SECONDS
        wait_until(lambda: requests.get(f"{url}/healthz", timeout=10).ok and time.monotonic() > end)
        assert queue.counts()["waiting"] == 3
    ready.unlink()
    with ended(start(tmp_path, redis_url, "--ready-file", str(ready))):
        wait_until(lambda: operations.get("cache-cleanup", started.id).state == "finished", timeout_seconds=30)
    assert queue.counts()["failed"] == 3
    access.close()


def test_a_stopping_admin_finishes_its_step_and_releases_the_operation(
    tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    access = open_queues(Settings.from_env(environment(tmp_path, redis_url)))
    queue, operations = access.queues.get_queue("cache-cleanup"), Operations(access.queues)
    # Half a minute's work: it is not done before a slow machine has stopped the admin.
    for _ in range(300):
        access.queues.add_job("cache-cleanup", "cache-cleanup", {"type": "expired"})
    request = BulkRequest(action="cancel", job_filter=JobFilter(states=("waiting",)), by="ada", per_second=10)
    started = operations.begin("cache-cleanup", request)
    with ended(start(tmp_path, redis_url)):
        wait_until(lambda: operations.get("cache-cleanup", started.id).done, timeout_seconds=30)
    left = operations.get("cache-cleanup", started.id)
    assert (left.state, left.owner, left.owned_until_ms) == ("running", "", 0)
    assert left.done == queue.counts()["failed"] < 300
    access.close()


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Stop the process at the end and check its exit code."""
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=15)
    assert process.returncode == 0


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_renders_the_page(admin: Running, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    for width in (500, 1280):
        document, console = browse(CHROMIUM, f"{admin.url}/admin/", tmp_path, width)
        assert "<h1>Not healthy</h1>" in document
        assert "workers: no live worker serves any of the 4 queues" in document
        # The browser would report here what the policy blocked: styles, scripts, images of other sites.
        assert "Content Security Policy" not in console
        assert (tmp_path / "page.png").stat().st_size > 20_000
        (tmp_path / "page.png").unlink()


def browse(chromium: str, url: str, directory: Path, width: int) -> tuple[str, str]:
    """Return the rendered document and the browser's console output; the screenshot is `page.png`."""
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    quiet += ["--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--enable-logging=stderr"]
    looks = [f"--screenshot={directory / 'page.png'}", f"--window-size={width},900", "--dump-dom"]
    arguments = ["--headless", "--no-sandbox", *quiet, f"--user-data-dir={directory / 'profile'}", *looks, url]
    ended = subprocess.run([chromium, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout, ended.stderr
