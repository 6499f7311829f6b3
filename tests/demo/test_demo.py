"""The demo as users first run it: all our job types on the real system, no effect on another Redis, nothing left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
import requests

from nomad_actors.processes.local_redis import LocalRedis
from tests.admin.test_original import LINES, differences
from tests.processes.test_private_files import open_in
from tests.support.operator import as_operator

ROOT = Path(__file__).resolve().parent.parent.parent
JOB_TYPES = ("token-refresh", "esi-data-refresh", "historical-data-collection", "cache-cleanup")


def start(*arguments: str, output: Path, **environ: str) -> subprocess.Popen[bytes]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("REDIS_")}
    with output.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "demo", *arguments],
            cwd=ROOT,
            env={**environ, "TMPDIR": str(output.parent), **environ},
            stdout=stream,
            stderr=stream,
        )


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
def test_once_runs_every_job_type_next_to_another_redis_and_cleans_up(
    tmp_path: Path, redis_client: redis.Redis, redis_server: LocalRedis
) -> None:
    redis_client.set("somebody's", "data")
    before = redis_client.info("stats")["total_connections_received"]
    output = tmp_path / "output.txt"
    process = start("--once", output=output)
    started: set[psutil.Process] = set()
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        started.update(family(process))
        time.sleep(0.1)
    text = output.read_text(errors="replace")
    assert process.wait(timeout=5) == 0, text
    assert all(name in text for name in JOB_TYPES)
    assert "/admin/" in text
    assert "failed:" not in text
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive
    assert not list(tmp_path.glob("nomad-demo-*"))
    assert redis_client.get("somebody's") == b"data"
    assert redis_client.info("stats")["total_connections_received"] == before
    assert redis_client.dbsize() == 1


@pytest.fixture
def running(tmp_path: Path, wait_until: Callable[..., None]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the demo with its output in the file `output`; it runs until it is stopped."""
    output = tmp_path / "output.txt"
    process = start(output=output)
    try:
        wait_until(
            lambda: "Continuing" in output.read_text(errors="replace"),
            timeout_seconds=120,
            what="the steady load",
        )
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=40)


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Stop the demo, and check that no process that it started is left."""
    started = family(process)
    assert len(started) >= 5
    process.send_signal(number)
    process.wait(timeout=40)
    _, alive = psutil.wait_procs(started, timeout=15)
    assert not alive


@pytest.mark.slow
def test_killing_the_demo_stops_everything_it_started(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    process = start(output=tmp_path / "output.txt")
    try:
        wait_until(
            lambda: len([each for each in family(process) if each.name() != "redis-server"]) >= 4,
            timeout_seconds=60,
            what="the demo has started its programs",
        )
        (directory,) = tmp_path.glob("nomad-demo-*")
        assert open_in(directory) == []
    finally:
        end(process, signal.SIGKILL)


@pytest.mark.slow
def test_the_demo_has_the_originals_api_and_stops_everything_it_started(
    running: subprocess.Popen[bytes], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    text = (tmp_path / "output.txt").read_text()
    address = next(line.split()[1] for line in text.splitlines() if line.startswith("Admin "))
    (directory,) = tmp_path.glob("nomad-demo-*")
    assert open_in(directory) == []
    check_ways_in(address, text)
    check_original(address.removesuffix("/admin/"), text, wait_until)
    end(running, signal.SIGINT)


def check_ways_in(address: str, text: str) -> None:
    line = next(line for line in text.splitlines() if line.startswith("In another shell: export "))
    typed = f"{line.partition(': ')[2]} && '{sys.executable}' -m nomad_actors.cli schedules --json"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_")}
    beside = subprocess.run(typed, shell=True, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert [each["live"] for each in json.loads(beside.stdout)["schedulers"]] == [True]
    page = requests.get(address, timeout=10)
    assert page.status_code == 200
    assert "esi-refresh" in page.text
    # Without a token the admin is read-only; the link that the demo prints logs a browser in, once.
    assert ">Pause<" not in requests.get(f"{address}queues/esi-refresh", timeout=10).text
    link = next(line.split()[-1] for line in text.splitlines() if line.startswith("Log in, once"))
    with requests.Session() as browser:
        assert ">Log out<" in browser.get(link, timeout=10).text
        assert ">Pause<" in browser.get(f"{address}queues/esi-refresh", timeout=10).text
    assert requests.get(link, timeout=10).status_code == 401


def check_original(url: str, text: str, wait_until: Callable[..., None]) -> None:
    jobs = f"{url}/admin/jobs/queues/token-refresh/jobs"
    var_dir = Path(re.findall(r"NOMAD_VAR_DIR=(\S+)", text)[0])
    schedule = requests.get(f"{url}/admin/jobs/scheduler", timeout=10).json()["jobs"][0]["name"]
    # Characters without a login: their jobs fail immediately. Not more than health tolerates.
    stranger = {"name": "token-refresh", "data": {"character_id": 1, "user_id": 1}}
    needing = [line for line in LINES if "{failed}" in line.path]
    acted_on = {
        line.path: requests.post(jobs, json=stranger, headers=as_operator(var_dir), timeout=10).json()["id"]
        for line in needing
    }
    wait_until(
        lambda: all(
            requests.get(f"{jobs}/{each}", timeout=10).json()["status"] == "failed" for each in acted_on.values()
        ),
        timeout_seconds=30,
        what="a stranger's jobs failed",
    )
    wrong = [
        text
        for line in LINES
        for text in differences(url, line, acted_on.get(line.path, ""), var_dir, schedule=schedule)
    ]
    assert not wrong, "\n".join(wrong)
