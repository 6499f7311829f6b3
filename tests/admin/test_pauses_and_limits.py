"""Pauses, the ESI switch, and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flask.testing import FlaskClient

from nomad_actors.broker.records.limits import PauseScope

from .conftest import AdminApp
from .test_actions import press
from .test_pages import text_of

QUEUE = "/admin/jobs/queues/token-refresh"
NO_LIMITS = {"concurrency": None, "starts": None, "periodMs": None, "maxLength": None}


def test_a_pause_has_a_reason_and_an_end(operator: FlaskClient, app: AdminApp, wait_until: Callable[..., None]) -> None:
    assert (
        operator.post(f"{QUEUE}/pause", json={"reason": "ESI is down", "forMs": 300}).get_json()["status"] == "paused"
    )
    (pause,) = operator.get(QUEUE).get_json()["pauses"]
    assert (pause["reason"], pause["by"], pause["scope"]) == ("ESI is down", "local", "queue")
    assert pause["until"] - pause["since"] == 300
    wait_until(lambda: operator.get(QUEUE).get_json()["pauses"] == [], what="the pause to end by itself")
    refused = operator.post(f"{QUEUE}/pause", json={"forMs": 0})
    assert refused.status_code == 422
    assert "forMs 0 is invalid (allowed: a whole number from 1" in refused.get_json()["detail"]


def test_the_esi_switch_is_independent_of_a_queues_own_pause(operator: FlaskClient, app: AdminApp) -> None:
    switch = operator.get("/admin/jobs/esi").get_json()
    assert {name: value for name, value in switch.items() if name not in ("limits", "refusals")} == {
        "queues": ["token-refresh"],
        "isPaused": False,
        "running": ["token-refresh"],
        "pause": None,
        "pauses": {},
    }
    operator.post(f"{QUEUE}/pause")
    paused = operator.post("/admin/jobs/esi/pause", json={"reason": "downtime"}).get_json()
    assert (paused["isPaused"], paused["pause"]["reason"], paused["pause"]["scope"]) == (True, "downtime", "esi")
    assert {pause["scope"] for pause in operator.get(QUEUE).get_json()["pauses"]} == {"queue", "esi"}
    assert operator.post(f"{QUEUE}/resume").get_json()["status"] == "paused"
    assert operator.post("/admin/jobs/esi/resume").get_json()["isPaused"] is False
    assert operator.get(QUEUE).get_json()["isPaused"] is False


def test_an_esi_queue_that_is_not_paused_is_shown_and_can_be_paused(operator: FlaskClient, app: AdminApp) -> None:
    app.queues.register(replace(app.queues.job_type("esi-refresh-work"), name="esi-too", uses_esi=True))
    assert operator.post("/admin/jobs/esi/pause", json={"reason": "downtime"}).get_json()["isPaused"] is True
    app.queues.get_queue("esi-refresh").resume(scope=PauseScope.ESI)
    switch = operator.get("/admin/jobs/esi").get_json()
    assert (switch["isPaused"], switch["running"]) == (False, ["esi-refresh"])
    assert switch["pauses"]["token-refresh"] == switch["pause"]
    page = text_of(operator.get("/admin/").text)
    assert "token-refresh: paused by local" in page
    assert "Not paused: esi-refresh. To pause all ESI queues, pause them again." in page
    assert "Resume all ESI queues" in page
    assert "are paused until it is resumed" in press(operator, "/admin/", "/admin/esi/pause")
    switch = operator.get("/admin/jobs/esi").get_json()
    assert (switch["isPaused"], switch["running"], sorted(switch["pauses"])) == (
        True,
        [],
        ["esi-refresh", "token-refresh"],
    )


def test_all_limits_are_set_together_and_apply_immediately(operator: FlaskClient, app: AdminApp) -> None:
    url = f"{QUEUE}/limits"
    assert operator.get(url).get_json() == {**NO_LIMITS, "inForce": None}
    limits = {"concurrency": 3, "starts": 10, "periodMs": 1000, "maxLength": 1}
    assert operator.put(url, json=limits).get_json() == {**limits, "inForce": 3}
    app.add()
    full = operator.post(f"{QUEUE}/jobs", json={"name": "token-refresh-work", "data": {"character_id": 1}})
    assert full.status_code == 409
    assert "token-refresh" in full.get_json()["detail"]
    assert operator.put(url, json={**limits, "starts": None}).status_code == 422
    missing = operator.put(url, json={"concurrency": 3})
    assert missing.status_code == 422
    assert missing.get_json()["detail"] == "starts is missing (allowed: a whole number from 1 to 100000 or null)"
    # A query parameter cannot be null.
    assert "null" not in operator.get(f"{QUEUE}/jobs?since=x").get_json()["detail"]
    assert operator.put(url, json=NO_LIMITS).get_json() == {**NO_LIMITS, "inForce": None}
    app.add()


def test_a_delayed_job_is_promoted(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, delay=60_000).id
    assert operator.post(f"{QUEUE}/jobs/{job_id}/promote").get_json()["status"] == "waiting"
    assert operator.post(f"{QUEUE}/jobs/{job_id}/promote").status_code == 409
