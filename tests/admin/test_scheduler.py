"""Schedules over HTTP: looked at, switched and run; and their pages."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from .conftest import Parts

URL = "/admin/jobs/scheduler"


@pytest.fixture
def nightly(parts: Parts) -> str:
    """A schedule that an operator added."""
    parts.schedules.schedule_job(
        "nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}), description="Every <night>"
    )
    return "nightly"


def test_a_schedule_is_stopped_and_started(ask: FlaskClient, nightly: str) -> None:
    stopped = ask.post(f"{URL}/{nightly}/stop")
    assert stopped.status_code == 200
    told = stopped.get_json()
    assert (told["success"], told["jobName"], told["running"], told["nextRun"]) == (True, nightly, False, None)
    assert ask.get(URL).get_json()["stopped"] == 1
    started = ask.post(f"{URL}/{nightly}/start").get_json()
    assert (started["running"], started["overridden"]) == (True, [])
    # Twice is once.
    assert ask.post(f"{URL}/{nightly}/start").get_json()["version"] == started["version"]


def test_a_schedule_is_run_now(ask: FlaskClient, nightly: str, parts: Parts) -> None:
    ran = ask.post(f"{URL}/{nightly}/run").get_json()
    assert (ran["success"], ran["queueName"], ran["status"]) == (True, "cache-cleanup", "waiting")
    told = ask.get(f"{URL}/{nightly}").get_json()
    (slot,) = told["slots"]
    assert (slot["kind"], slot["outcome"], slot["jobId"], slot["requestedBy"]) == (
        "manual",
        "waiting",
        ran["jobId"],
        "local",
    )
    again = ask.post(f"{URL}/{nightly}/run")
    assert again.status_code == 409
    assert "the previous run is still waiting" in again.get_json()["detail"]
    parts.run_all("cache-cleanup")
    told = ask.get(f"{URL}/{nightly}").get_json()
    assert (told["lastStatus"], told["lastOutcome"]) == ("completed", "completed")
    assert told["lastRun"] is not None
    assert told["lastSuccess"] is not None


@pytest.mark.parametrize("action", ["start", "stop", "run"])
def test_an_unknown_schedule_is_named_with_those_that_exist(ask: FlaskClient, nightly: str, action: str) -> None:
    answer = ask.post(f"{URL}/nightli/{action}")
    assert answer.status_code == 404
    assert "did you mean 'nightly'" in answer.get_json()["detail"]
    assert ask.get(f"{URL}/nightli").status_code == 404


def test_a_wrong_body_is_refused(ask: FlaskClient, nightly: str) -> None:
    assert ask.post(f"{URL}/{nightly}/run", json={"force": "yes"}).status_code == 422
    assert ask.post(f"{URL}/{nightly}/stop", json={"why": 1}).status_code == 422
    assert ask.get(f"{URL}/{nightly}").get_json()["running"] is True


def test_without_a_scheduler_the_system_is_not_healthy(ask: FlaskClient, parts: Parts, nightly: str) -> None:
    issues = ask.get("/admin/jobs/health").get_json()["scheduledJobs"]["issues"]
    assert any("schedulers: none lives" in issue for issue in issues)
    parts.hear_scheduler()
    assert ask.get("/admin/jobs/health").get_json()["scheduledJobs"]["issues"] == []


def test_the_page_shows_the_slots_and_what_can_be_done(ask: FlaskClient, nightly: str) -> None:
    ask.post(f"{URL}/{nightly}/run")
    page = ask.get(f"/admin/schedules/{nightly}").get_data(as_text=True)
    assert "Every &lt;night&gt;" in page
    assert "manual" in page
    assert f'action="/admin/schedules/{nightly}/stop"' in page
    overview = ask.get("/admin/").get_data(as_text=True)
    assert f"/admin/schedules/{nightly}" in overview
