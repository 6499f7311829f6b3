"""Errors of real processes reach a Sentry project once, tagged, and without their data."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import sentry_sdk

from nomad_actors.app import App, create_app
from nomad_actors.logs import error_reports
from nomad_actors.scheduler import ScheduledJob
from nomad_actors.scheduler.book import Schedules
from nomad_actors.settings import Settings
from nomad_actors.version import __version__
from tests.support.processes import ROOT, environ_for, program
from tests.support.sentry_project import SentryProject

OWN_JOB_TYPE = """
from nomad_actors import JobType, PermanentError, Payload, Result

class Broken(Payload):
    character_id: int
    note: str

def fail(payload: Broken) -> Result:
    secret = payload.note
    raise PermanentError(f"refresh_token={secret}")

BROKEN = JobType(name="broken", queue="cache-cleanup", payload=Broken, result=Result, run=fail)
"""
SECRET = "gEy-8fP2kq0aT1m4ZsBvXw"
#: Data of this process that no report may contain.
ENVIRON_SECRET = "EnvIroNmenTSecReT0123"


@pytest.fixture
def project() -> Iterator[SentryProject]:
    project = SentryProject()
    yield project
    project.close()


@pytest.fixture
def environ(tmp_path: Path, redis_url: str, project: SentryProject) -> dict[str, str]:
    (tmp_path / "own_jobs.py").write_text(OWN_JOB_TYPE, encoding="utf-8")
    return environ_for(
        tmp_path,
        redis_url,
        SENTRY_DSN=project.dsn,
        SENTRY_ENVIRONMENT="a-test",
        EVE_CLIENT_SECRET=ENVIRON_SECRET,
        NOMAD_MODULES="own_jobs",
        PYTHONPATH=f"{tmp_path}:{ROOT}",
    )


@pytest.fixture
def app(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_jobs", raising=False)
    app = create_app(Settings.from_env(environ))
    yield app
    app.close()


def test_a_failed_job_of_a_worker_process(
    app: App, environ: dict[str, str], project: SentryProject, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with program(["nomad_actors.cli", "run", "workers"], environ, tmp_path):
        app.queues.add_job("cache-cleanup", "broken", {"character_id": 7, "note": SECRET})
        wait_until(lambda: project.events, timeout_seconds=40)
    (event,) = project.events
    assert event["tags"] == {"service": "workers", "job_type": "broken", "queue": "cache-cleanup", "attempt": "1"}
    assert event["exception"]["values"][-1]["value"] == "refresh_token=[hidden]"
    assert event["contexts"]["job"]["character_id"] == 7
    assert (event["release"], event["environment"]) == (f"nomad-actors@{__version__}", "a-test")
    assert SECRET not in project.text
    assert ENVIRON_SECRET not in project.text


def test_a_slot_that_a_scheduler_process_cannot_add(
    app: App, environ: dict[str, str], project: SentryProject, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    job = ScheduledJob("broken", {"character_id": 7, "note": SECRET})
    Schedules(app.queues).schedule_job("nightly", "* * * * *", job, run_on_init=True)
    with program(["nomad_actors.scheduler"], {**environ, "NOMAD_MODULES": ""}, tmp_path):
        wait_until(lambda: project.events, timeout_seconds=40)
    (event,) = project.events
    assert event["tags"] == {"service": "scheduler", "schedule": "nightly"}
    output = (tmp_path / "output.log").read_text()
    assert 'event="slot missed" schedule=nightly' in output
    assert 'why="its job is refused: unknown job type' in output
    assert "broken" in event["exception"]["values"][-1]["value"]
    assert SECRET not in project.text


def test_a_request_that_fails_in_an_admin_process(
    app: App,
    environ: dict[str, str],
    project: SentryProject,
    tmp_path: Path,
    wait_until: Callable[..., None],
) -> None:
    ready = tmp_path / "ready"
    with program(["tests.support.failing_admin", "--ready-file", str(ready)], environ, tmp_path):
        wait_until(ready.exists, timeout_seconds=40)
        url = ready.read_text().strip()
        assert requests.get(f"{url}/admin/jobs/queues/nowhere", timeout=10).status_code == 404
        assert project.events == []
        response = requests.get(f"{url}/admin/jobs/bulk", headers={"Cookie": f"seed={SECRET}"}, timeout=10)
        assert response.status_code == 500, response.text
        wait_until(lambda: project.events, timeout_seconds=20)
    # It has ended and sent its data; the missing import reported nothing.
    for event in project.events:
        assert event["tags"]["service"] == "admin"
    (event,) = (event for event in project.events if "route" in event["tags"])
    assert event["tags"]["route"] == "GET /admin/jobs/bulk"
    assert event["exception"]["values"][-1]["type"] == "RuntimeError"
    assert not {"request", "user"} & set(event)
    assert SECRET not in project.text


@pytest.fixture
def reporting(project: SentryProject) -> Iterator[SentryProject]:
    """Let this process report to a project; afterwards reporting is off again, as for other tests."""
    error_reports.start(project.dsn, service="a-test")
    yield project
    sentry_sdk.get_client().close()
    sentry_sdk.init()
    error_reports._started = False
    error_reports._BUDGET = error_reports._Budget()


def deep(down: int) -> None:
    if not down:
        raise ValueError("x" * 3_000_000)
    try:
        deep(down - 1)
    except ValueError as error:
        raise ValueError("y " * 1_000_000) from error


def test_sentry_accepts_the_report_of_an_error_of_any_size(reporting: SentryProject) -> None:
    def recurse() -> None:
        recurse()

    for fail in (lambda: deep(40), recurse):
        try:
            fail()
        except Exception as error:
            began = time.thread_time()
            error_reports.report(error, {"job_type": fail.__name__}, {"listed": ["z" * 10_000] * 10_000})
            assert time.thread_time() - began < 10
    sentry_sdk.flush(10)
    assert [event["exception"]["values"][-1]["type"] for event in reporting.events] == ["ValueError", "RecursionError"]
    assert max(len(json.dumps(event)) for event in reporting.events) < 1_000_000
    assert "characters left out" in reporting.events[0]["exception"]["values"][-1]["value"]
    # The innermost frame comes last.
    assert reporting.events[1]["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "recurse"


def test_a_flood_of_one_error_sends_a_few_reports_with_the_number_left_out(
    reporting: SentryProject, wait_until: Callable[..., None]
) -> None:
    for attempt in range(100):
        error_reports.report(ValueError("ESI is away"), {"job_type": "flood", "attempt": str(attempt)})
    error_reports.report(ValueError("another"), {"job_type": "another"})
    error_reports.report(KeyError("another"), {"job_type": "flood"})
    sentry_sdk.flush(10)
    sent = [event["tags"]["job_type"] for event in reporting.events]
    assert error_reports.BURST <= sent.count("flood") - 1 < 20
    assert sent.count("another") == 1

    def one_more() -> bool:
        error_reports.report(ValueError("ESI is away"), {"job_type": "flood"})
        sentry_sdk.flush(1)
        return "left_out_before" in reporting.text

    wait_until(one_more, timeout_seconds=20)
    (reported,) = [event["contexts"]["reports"] for event in reporting.events if "reports" in event["contexts"]]
    assert reported["left_out_before"] > 50


def test_an_unreachable_sentry_is_logged_once_and_only_by_us(
    reporting: SentryProject, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    reporting.close()
    for number in range(5):
        error_reports.report(ValueError("lost"), {"job_type": f"lost-{number}"})
    wait_until(lambda: "error reports are lost" in caplog.text)
    sentry_sdk.flush(10)
    assert caplog.text.count("error reports are lost") == 1
    assert "connectionpool" not in caplog.text


def test_without_a_dsn_nothing_is_imported() -> None:
    code = (
        "import sys; from nomad_actors.app import create_app; from nomad_actors.settings import Settings;"
        "create_app(Settings()).close(); assert 'sentry_sdk' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "", "PYTHONPATH": str(ROOT)})


def test_a_program_that_foreign_code_would_end_silently_reports_the_error(
    reporting: SentryProject,
) -> None:
    with pytest.raises(RuntimeError, match="would have ended by SystemExit: 0"), error_reports.reporting({}):
        raise SystemExit(0)
    assert [event["exception"]["values"][-1]["type"] for event in reporting.events] == ["SystemExit"]
