"""All lines of a real worker, scheduler or admin have one format, and the original's search terms find them."""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from nomad_actors.app import App, create_app
from nomad_actors.settings import Settings
from tests.support.processes import ROOT, environ_for, program

OWN_JOB_TYPE = """
import logging, threading, warnings
from nomad_actors import JobType, PermanentError, Payload, Result

class Noise(Payload):
    character_id: int

def loud(payload: Noise) -> Result:
    logging.getLogger("a.library").warning("two\\nlines level=error")
    warnings.warn("an old way to do it")
    print("printed", "in parts")
    print("and its end is missing", end="")
    thread = threading.Thread(target=lambda: 1 / 0, name="own-thread")
    thread.start()
    thread.join()
    raise PermanentError("no\\nsuch access_token=gEy-8fP2kq0aT1m4ZsBvXw")

LOUD = JobType(name="loud", queue="noise", payload=Noise, result=Result, run=loud)
"""
SECRET = "gEy-8fP2kq0aT1m4ZsBvXw"
_PAIR = re.compile(r'[^\s="]+=(?:"(?:[^"\\]|\\.)*"|[^\s"=]*)')


@pytest.fixture(params=["logfmt", "json"])
def environ(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> dict[str, str]:
    (tmp_path / "own_jobs.py").write_text(OWN_JOB_TYPE, encoding="utf-8")
    return environ_for(
        tmp_path, redis_url, LOG_FORMAT=request.param, NOMAD_MODULES="own_jobs", PYTHONPATH=f"{tmp_path}:{ROOT}"
    )


@pytest.fixture
def app(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_jobs", raising=False)
    app = create_app(Settings.from_env(environ))
    yield app
    app.close()


def parsed(line: str, log_format: str) -> dict[str, str]:
    """Return a line's fields; fail for any other format."""
    if log_format == "json":
        found: dict[str, str] = json.loads(line)
    else:
        assert not _PAIR.sub("", line).strip(), f"not logfmt: {line!r}"
        found = dict(pair.split("=", 1) for pair in _PAIR.findall(line))
        found = {name: json.loads(value) if value.startswith('"') else value for name, value in found.items()}
    assert list(found)[:4] == ["timestamp", "level", "module", "event"], line
    return found


def lines_of(directory: Path, log_format: str) -> list[dict[str, str]]:
    """Return all lines that a program has printed there, and clear them."""
    output = directory / "output.log"
    found = [parsed(line, log_format) for line in output.read_text().splitlines()]
    output.unlink()
    assert found
    return found


def test_every_line_of_a_worker(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with program(["nomad_actors.cli", "run", "workers"], environ, tmp_path) as service:
        queue = app.queues.get_queue("noise")
        app.queues.add_job("noise", "loud", {"character_id": 7})
        wait_until(lambda: queue.counts()["failed"] == 1, timeout_seconds=40)
        for event in ("job_metrics", "Worker process is ready"):
            wait_until(lambda event=event: event in (tmp_path / "output.log").read_text())
        # The line of Dramatiq's main process about a worker that died.
        (worker,) = psutil.Process(service.pid).children()
        worker.send_signal(signal.SIGKILL)
        service.wait(timeout=30)
    assert SECRET not in (tmp_path / "output.log").read_text()
    found = lines_of(tmp_path, environ["LOG_FORMAT"])
    # The original system's search terms: level=error module=*-job, and category=job_metrics.
    (failed,) = [line for line in found if line["level"] == "error" and line["module"].endswith("-job")]
    assert (failed["category"], failed["actor"], str(failed["character_id"])) == ("job_metrics", "loud", "7")
    of_job = [line for line in found if line.get("job_id") == failed["job_id"]]
    assert {"a.library", "py.warnings", "loud-job"} <= {line["module"] for line in of_job}
    assert [line for line in found if "ZeroDivisionError" in line.get("exception", "")]
    (printed,) = [line for line in of_job if line["module"] == "stdout"]
    assert printed["event"] == "printed in parts"
    (died,) = [line for line in found if "exited unexpectedly" in line["event"]]
    assert (died["level"], died["module"]) == ("critical", "dramatiq.MainProcess")


@pytest.mark.parametrize("part", ["workers", "scheduler"])
def test_every_line_of_a_program_that_has_no_redis(environ: dict[str, str], tmp_path: Path, part: str) -> None:
    environ["REDIS_URL"] = "redis://127.0.0.1:1/0"
    with program(["nomad_actors.cli", "run", part], environ, tmp_path) as service:
        assert service.wait(timeout=60) == 1
    found = lines_of(tmp_path, environ["LOG_FORMAT"])
    (missing,) = [line for line in found if "Redis at 127.0.0.1:1/0 does not answer" in line["event"]]
    assert "or use `make run`, which starts its own" in missing["event"]
    assert missing["level"] == "critical"


def test_every_line_of_a_scheduler_and_of_its_end(
    environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    output = tmp_path / "output.log"
    with program(["nomad_actors.scheduler"], environ, tmp_path):
        wait_until(lambda: output.exists() and "token-refresh" in output.read_text(), timeout_seconds=40)
    found = lines_of(tmp_path, environ["LOG_FORMAT"])
    assert found[-1]["event"] == "scheduler stopped"


def test_every_line_of_an_admin(
    app: App, environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    ready = tmp_path / "ready"
    with program(["admin", "--ready-file", str(ready)], environ, tmp_path) as service:
        # Few files mean few connections.
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (200, 200))
        wait_until(ready.exists, timeout_seconds=40)
        url = ready.read_text().strip()
        requests.get(f"{url}/admin/jobs/nowhere", headers={"Authorization": f"Bearer {SECRET}"}, timeout=10)
        # The server's own line about too many connections.
        address = urlsplit(url)
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=10))
            wait_until(lambda: "closed idle connections" in (tmp_path / "output.log").read_text(), timeout_seconds=20)
    assert SECRET not in (tmp_path / "output.log").read_text()
    lines_of(tmp_path, environ["LOG_FORMAT"])
