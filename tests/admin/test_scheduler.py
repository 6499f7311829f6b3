"""Schedules over HTTP: read, started, stopped and run; and their pages."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from .conftest import AdminApp

URL = "/admin/jobs/scheduler"


@pytest.fixture
def nightly(app: AdminApp) -> str:
    """A schedule that an operator added."""
    app.schedules.schedule_job(
        "nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}), description="Every <night>"
    )
    return "nightly"


def test_a_schedule_is_stopped_and_started(operator: FlaskClient, nightly: str) -> None:
    stopped = operator.post(f"{URL}/{nightly}/stop")
    assert stopped.status_code == 200
    schedule = stopped.get_json()
    assert (schedule["success"], schedule["jobName"], schedule["running"], schedule["nextRun"]) == (
        True,
        nightly,
        False,
        None,
    )
    assert operator.get(URL).get_json()["stopped"] == 1
    started = operator.post(f"{URL}/{nightly}/start").get_json()
    assert (started["running"], started["overridden"]) == (True, [])
    # Starting it twice changes nothing.
    assert operator.post(f"{URL}/{nightly}/start").get_json()["version"] == started["version"]


def test_a_schedule_is_run_now(operator: FlaskClient, nightly: str, app: AdminApp) -> None:
    ran = operator.post(f"{URL}/{nightly}/run").get_json()
    assert (ran["success"], ran["queueName"], ran["status"]) == (True, "cache-cleanup", "waiting")
    schedule = operator.get(f"{URL}/{nightly}").get_json()
    (slot,) = schedule["slots"]
    assert (slot["kind"], slot["outcome"], slot["jobId"], slot["requestedBy"]) == (
        "manual",
        "waiting",
        ran["jobId"],
        "local",
    )
    second = operator.post(f"{URL}/{nightly}/run")
    assert second.status_code == 409
    assert "the previous run is still waiting" in second.get_json()["detail"]
    app.run_all("cache-cleanup")
    schedule = operator.get(f"{URL}/{nightly}").get_json()
    assert (schedule["lastStatus"], schedule["lastOutcome"]) == ("completed", "completed")
    assert schedule["lastRun"] is not None
    assert schedule["lastSuccess"] is not None


@pytest.mark.parametrize("action", ["start", "stop", "run"])
def test_an_unknown_schedule_is_404_with_a_suggestion(operator: FlaskClient, nightly: str, action: str) -> None:
    response = operator.post(f"{URL}/nightli/{action}")
    assert response.status_code == 404
    assert "did you mean 'nightly'" in response.get_json()["detail"]
    assert operator.get(f"{URL}/nightli").status_code == 404


def test_a_wrong_body_is_refused(operator: FlaskClient, nightly: str) -> None:
    assert operator.post(f"{URL}/{nightly}/run", json={"force": "yes"}).status_code == 422
    assert operator.post(f"{URL}/{nightly}/stop", json={"why": 1}).status_code == 422
    assert operator.get(f"{URL}/{nightly}").get_json()["running"] is True


def test_without_a_scheduler_the_system_is_not_healthy(operator: FlaskClient, app: AdminApp, nightly: str) -> None:
    issues = operator.get("/admin/jobs/health").get_json()["scheduledJobs"]["issues"]
    assert any("schedulers: no scheduler is live" in issue for issue in issues)
    app.simulate_scheduler()
    assert operator.get("/admin/jobs/health").get_json()["scheduledJobs"]["issues"] == []


def test_the_page_shows_slots_and_buttons(operator: FlaskClient, nightly: str) -> None:
    operator.post(f"{URL}/{nightly}/run")
    page = operator.get(f"/admin/schedules/{nightly}").get_data(as_text=True)
    assert "Every &lt;night&gt;" in page
    assert "manual" in page
    assert f'action="/admin/schedules/{nightly}/stop"' in page
    overview = operator.get("/admin/").get_data(as_text=True)
    assert f"/admin/schedules/{nightly}" in overview
