"""All middleware together on the real broker: each run is counted once and logged once."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import dramatiq
import pytest
from dramatiq.middleware import SkipMessage

from nomad_actors import logs
from nomad_actors.broker import Defer
from nomad_actors.broker.broker import JobBroker
from nomad_actors.metrics.definitions import REGISTRY
from nomad_actors.middleware.order import middleware_for
from nomad_actors.settings import Settings


@pytest.fixture
def stream():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def runs() -> float:
    labels = {"queue": "whole-queue", "actor": "whole-actor"}
    return REGISTRY.get_sample_value("nomad_job_wait_seconds_count", labels) or 0.0


def enqueued() -> float:
    labels = {"queue": "whole-queue", "actor": "whole-actor"}
    return REGISTRY.get_sample_value("nomad_jobs_enqueued_total", labels) or 0.0


def job_lines(stream: io.StringIO) -> list[dict]:
    return [fields for fields in map(json.loads, stream.getvalue().splitlines()) if "category" in fields]


def test_a_job_that_succeeds_on_its_second_attempt(running, stream, wait_until):
    seen: list[int] = []

    def work(character_id: int) -> None:
        seen.append(character_id)
        logs.get_logger("whole-actor-job").info("at work")
        if len(seen) == 1:
            raise ValueError("try again")

    before = runs()
    enqueued_before = enqueued()
    settings = Settings(metrics_port=0, log_format="json", retry_delay_ms=1)
    broker = running(
        middleware_for(settings),
        lambda b: dramatiq.actor(work, broker=b, actor_name="whole-actor", queue_name="whole-queue"),
    )
    sent = broker.get_actor("whole-actor").send(character_id=7)
    wait_until(lambda: len(job_lines(stream)) == 2)

    retried, completed = job_lines(stream)
    assert (retried["outcome"], retried["attempt"], retried["level"]) == ("retried", 1, "warning")
    assert retried["error"] == "ValueError: try again"
    assert (completed["outcome"], completed["attempt"], completed["level"]) == ("completed", 2, "info")
    assert {line["job_id"] for line in (retried, completed)} == {sent.message_id}
    assert {line["character_id"] for line in (retried, completed)} == {7}
    assert runs() - before == 2
    totals = broker.totals(["whole-queue"])["whole-queue"]
    assert totals == {("whole-actor", "retried"): 1, ("whole-actor", "completed"): 1}
    # Dramatiq enqueues a retry like a new job, but it is the same job.
    assert enqueued() - enqueued_before == 1

    during = [f for f in map(json.loads, stream.getvalue().splitlines()) if f["event"] == "at work"]
    assert [(f["job_id"], f["attempt"], f["queue"]) for f in during] == [
        (sent.message_id, 1, "whole-queue"),
        (sent.message_id, 2, "whole-queue"),
    ]


def test_a_deferral_is_one_line_and_no_warning(running, stream, wait_until):
    runs = []

    def work() -> None:
        runs.append(1)
        raise Defer(0.01, "no room") if len(runs) < 3 else SkipMessage("too old")

    settings = Settings(metrics_port=0, log_format="json")
    broker = running(
        middleware_for(settings),
        lambda b: dramatiq.actor(work, broker=b, actor_name="deferred-actor", queue_name="whole-queue"),
    )
    broker.get_actor("deferred-actor").send()
    wait_until(lambda: len(job_lines(stream)) == 3)
    lines = job_lines(stream)
    assert [(line["outcome"], line["level"]) for line in lines] == [
        *[("deferred", "info")] * 2,
        ("skipped", "info"),
    ]
    assert "no room" in lines[0]["error"]
    # What is skipped for another reason is still warned of by Dramatiq.
    warnings = [line for line in map(json.loads, stream.getvalue().splitlines()) if line["level"] == "warning"]
    assert [line["event"].endswith("was skipped.") for line in warnings] == [True]


def test_a_duplicate_is_not_counted_as_enqueued(redis_url):
    broker = JobBroker(url=redis_url, middleware=middleware_for(Settings(metrics_port=0)))
    work = dramatiq.actor(lambda: None, broker=broker, actor_name="whole-actor", queue_name="whole-queue")
    before = enqueued()
    for _ in range(3):
        work.send_with_options(unique_key="one")
    duplicates = [(work.message_with_options(unique_key="two"), 0) for _ in range(4)]
    added = broker.enqueue_many([*duplicates, (work.message(), 0)])
    assert [job.new for job in added] == [True, *[False] * 3, True]
    (repeated,) = broker.enqueue_many([duplicates[0]], once=True)
    assert not repeated.new
    assert broker.view("whole-queue").counts().waiting == enqueued() - before == 3
    broker.close()


WORKER = """
import os
import dramatiq
from nomad_actors import logs
from nomad_actors.broker import Defer
from nomad_actors.broker.broker import JobBroker
from nomad_actors.middleware.order import middleware_for
from nomad_actors.settings import Settings

settings = Settings.from_env(os.environ)
logs.configure(settings.log_format, settings.log_level)
broker = JobBroker(url=settings.redis_url, middleware=middleware_for(settings), shutdown_ms=5000)
dramatiq.set_broker(broker)

@dramatiq.actor(queue_name="cli", actor_name="cli-actor")
def work(character_id):
    pass
"""


def test_every_job_is_logged_and_counted_under_dramatiqs_own_command(tmp_path: Path, redis_url, wait_until):
    (tmp_path / "cli_worker.py").write_text(WORKER)
    log_file = tmp_path / "log"
    environ = {**os.environ, "REDIS_URL": redis_url, "NOMAD_METRICS_PORT": "0", "LOG_FORMAT": "logfmt"}
    command = [str(Path(sys.executable).with_name("dramatiq")), "cli_worker", "-p", "1", "-t", "4"]
    with log_file.open("w") as stderr:
        parent = subprocess.Popen(
            [*command, "--path", str(tmp_path), "--skip-logging"], cwd=tmp_path, env=environ, stderr=stderr
        )
    try:
        wait_until(lambda: "Worker process is ready" in log_file.read_text(), timeout_seconds=30)
        (url,) = re.findall(r"url=(\S+/metrics)", log_file.read_text())

        broker = JobBroker(url=redis_url, middleware=[])
        for number in range(300):
            broker.enqueue(
                dramatiq.Message(
                    queue_name="cli", actor_name="cli-actor", args=(), kwargs={"character_id": number}, options={}
                )
            )
        broker.declare_queue("cli")
        broker.join("cli", timeout=20_000)
        broker.close()
        with urllib.request.urlopen(url, timeout=5) as response:
            body = response.read().decode()
        assert re.search(r'nomad_job_duration_seconds_count\{actor="cli-actor",queue="cli"\} 300.0', body)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(20) == 0
    finally:
        parent.kill()
        parent.wait()
    found = re.findall(r"category=job_metrics .*character_id=(\d+)", log_file.read_text())
    assert sorted(map(int, found)) == list(range(300))
    assert all(line.startswith("timestamp=") for line in log_file.read_text().splitlines() if "level=" in line)
