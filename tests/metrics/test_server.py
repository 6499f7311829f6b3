"""Metrics are served on the loopback to allowed hosts, whatever other clients do."""

from __future__ import annotations

import logging
import os
import re
import resource
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.registry import Collector

from nomad_actors.app import create_app
from nomad_actors.metrics import server as server_module
from nomad_actors.metrics.server import LIMITS, MetricsServer, serve_or_log
from nomad_actors.processes.local_redis import free_port
from nomad_actors.settings import Settings
from tests.support.processes import ROOT, environ_for, program


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    Counter("apples_total", "Apples.", registry=registry).inc(3)
    return registry


def get(port: int, path: str = "/metrics", accept: str = ""):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept})
    return urllib.request.urlopen(request, timeout=5)


def test_port_zero_picks_a_free_port_and_logs_it(registry, caplog):
    caplog.set_level(logging.INFO)
    server = MetricsServer(0, registry)
    try:
        with get(server.port) as response:
            assert b"apples_total 3.0" in response.read()
            assert response.headers["Content-Type"].startswith("text/plain")
    finally:
        server.close()
    fields = [getattr(r, "nomad_fields", {}) for r in caplog.records]
    assert {"url": f"http://127.0.0.1:{server.port}/metrics"} in fields


def test_another_path_is_not_found(registry):
    server = MetricsServer(0, registry)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(server.port, "/")
        assert refused.value.code == 404
        refused.value.close()
    finally:
        server.close()


def test_a_failed_scrape_gets_a_response_and_is_logged(registry, caplog):
    class Faulty(Collector):
        def collect(self):
            raise ZeroDivisionError("a bug of ours")

        def describe(self):
            return ()

    registry.register(Faulty())
    server = MetricsServer(0, registry)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(server.port)
        assert refused.value.code == 500
        refused.value.close()
    finally:
        server.close()
    assert "a scrape failed" in caplog.text
    assert "a bug of ours" in caplog.text


def test_a_closed_server_frees_its_port(registry):
    server = MetricsServer(0, registry)
    port = server.port
    server.close()
    MetricsServer(port, registry).close()


def test_a_taken_port_is_skipped_and_logged(registry, caplog):
    caplog.set_level(logging.INFO)
    first = MetricsServer(0, registry)
    second = MetricsServer(first.port, registry)
    third = MetricsServer(first.port, registry)
    taken = f"{first.port}" if second.port == first.port + 1 else f"{first.port}-{second.port - 1}"
    assert first.port < second.port < third.port
    for server in (first, second, third):
        server.close()
    logged = [getattr(r, "nomad_fields", {}) for r in caplog.records if "next free one" in r.getMessage()]
    assert logged == [{"taken": taken}, {"taken": f"{first.port}-{third.port - 1}"}]


def test_a_port_whose_last_connection_is_not_forgotten_yet_is_free(registry):
    server = MetricsServer(0, registry)
    # The server closes first, so the kernel holds this connection in TIME_WAIT.
    assert "apples_total 3.0" in send(server, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    server.close()
    waiting = [each for each in psutil.net_connections("tcp") if each.status == "TIME_WAIT"]
    assert server.port in {each.laddr.port for each in waiting}
    second = MetricsServer(server.port, registry)
    assert second.port == server.port
    second.close()


def test_processes_that_search_at_once_each_find_a_port(wait_until, tmp_path):
    port, program = free_port(), tmp_path / "serve.py"
    program.write_text(SERVING, encoding="utf-8")
    command = [sys.executable, str(program), str(port)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [subprocess.Popen(command, env=environ, stdin=-1, stdout=-1, text=True) for _ in range(8)]
    # They have imported what they need; from here on they race.
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 8
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {int(process.stdout.readline()): process.pid for process in running}
    pids = {}
    for each in found:
        with get(each) as response:
            pids[each] = int(re.search(rb"\npid (\d+)", response.read())[1])
    for process in running:
        process.communicate("end\n")
    assert pids == found
    assert len(found) == 8


SERVING = """
import os, sys
from prometheus_client import CollectorRegistry, Gauge
from nomad_actors.metrics.server import MetricsServer

registry = CollectorRegistry()
Gauge("pid", "Whose it is.", registry=registry).set(os.getpid())
print("ready", flush=True)
sys.stdin.readline()
print(MetricsServer(int(sys.argv[1]), registry).port, flush=True)
sys.stdin.readline()
"""


def test_without_a_free_port_one_line_names_the_ports_and_the_setting(registry, caplog, monkeypatch):
    monkeypatch.setattr(server_module, "PORTS_TRIED", 1)
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(OSError, match=f"{port}.*taken.*NOMAD_METRICS_PORT"):
            MetricsServer(port, registry)
        assert serve_or_log(port, registry) is None
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert str(port) in record.nomad_fields["error"]


def test_the_search_ends_at_the_last_port(registry, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_PORT", port := free_port())
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match=f"ports {port} of"):
        MetricsServer(port, registry)


def test_an_address_that_is_not_ours_is_named_and_no_other_port_is_tried(registry):
    with pytest.raises(OSError, match=r"port 9191 of 192\.0\.2\.1 for metrics cannot be used"):
        MetricsServer(9191, registry, "192.0.2.1")


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 200), ("?service=workers", 200), ("?service=scheduler", 404), ("?service=workers&service=scheduler", 404)],
)
def test_a_scrape_of_another_service_on_the_same_range_of_ports_is_refused(registry, query, status):
    server = MetricsServer(0, registry, service="workers")
    response = send(server, f"GET /metrics{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    server.close()
    assert response.startswith(f"HTTP/1.1 {status} ")
    assert ("apples_total 3.0" in response) == (status == 200)
    assert status == 200 or response.endswith("this process serves the metrics of workers\n")


def test_it_listens_only_on_the_loopback(registry):
    server = MetricsServer(0, registry)
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", server.port), timeout=5)
    finally:
        server.close()


@pytest.fixture
def server(registry) -> Iterator[MetricsServer]:
    server = MetricsServer(0, registry, hosts=("metrics.example.org",))
    yield server
    server.close()


def send(server: MetricsServer, request: str) -> str:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(request.encode())
        return b"".join(iter(lambda: client.recv(65_536), b"")).decode()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:9191", 200),
        ("192.0.2.7:9191", 200),
        ("[2001:db8::1]:9191", 200),
        ("workers:9191", 200),
        ("scheduler-1:9192", 200),
        ("metrics.example.org", 200),
        ("METRICS.example.org:9191", 200),
        ("evil.example", 403),
        ("evil.example:9191", 403),
        ("metrics.example.org.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("user@localhost", 403),
        ("localhost/", 403),
        ("localhost:port", 403),
        ("", 403),
        ("localhost\r\nHost: evil.example", 403),
    ],
)
def test_a_name_that_a_web_page_can_have_is_refused(server: MetricsServer, host: str, status: int) -> None:
    response = send(server, f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    assert response.startswith(f"HTTP/1.1 {status} ")
    assert ("apples_total 3.0" in response) == (status == 200)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 405), ("OPTIONS", 405), ("TRACE", 405)])
def test_only_get_and_head_are_allowed(server: MetricsServer, method: str, status: int) -> None:
    response = send(server, f"{method} /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert response.startswith(f"HTTP/1.1 {status} ")
    assert "apples_total" not in response


def test_a_body_is_refused_by_its_length(server: MetricsServer) -> None:
    assert send(server, "POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\n").startswith("HTTP/1.1 413 ")


OWN_JOB_TYPE = """
from pathlib import Path
from nomad_actors import JobType, Payload, Priority, Result

class Reading(Payload):
    number: int

class Read(Result):
    files: int

def read(payload: Reading) -> Read:
    with open(__file__), open(__file__), open(__file__):
        return Read(files=3)

READING = JobType(name="reading", queue="files", payload=Reading, result=Read, run=read,
                  priority=Priority.HIGH, concurrency=2, attempts=1)
"""


@pytest.mark.slow
def test_idle_connections_take_no_files_that_jobs_need(
    tmp_path: Path, redis_url: str, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files.py").write_text(OWN_JOB_TYPE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    environ = environ_for(tmp_path, redis_url, NOMAD_MODULES="files", PYTHONPATH=f"{tmp_path}:{ROOT}")
    app = create_app(Settings.from_env(environ))
    queue, output = app.queues.get_queue("files"), tmp_path / "output.log"
    with ExitStack() as stack:
        service = stack.enter_context(program(["nomad_actors.cli", "run", "workers"], environ, tmp_path))
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        wait_until(lambda: "metrics are served" in output.read_text(), timeout_seconds=30)
        port = int(re.findall(r"url=http://127.0.0.1:(\d+)/metrics", output.read_text())[0])
        for _ in range(1_100):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        files = {each.pid: each for each in psutil.Process(service.pid).children(recursive=True)}
        for number in range(20):
            app.queues.add_job("files", "reading", {"number": number})
        begun = time.monotonic()
        with get(port) as response:
            assert b"nomad_jobs_enqueued_total" in response.read()
        # The deadline of a scrape, in prometheus.yml by default.
        assert time.monotonic() - begun < 10
        wait_until(lambda: queue.counts()["completed"] == 20, timeout_seconds=10)
        assert max(each.num_fds() for each in files.values()) < LIMITS.connections + 100
        assert queue.counts()["failed"] == 0
    assert "Too many open files" not in output.read_text()
    app.close()
