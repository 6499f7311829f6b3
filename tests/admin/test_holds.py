"""Pauses with a reason and an end, the switch of all that talks to ESI, and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flask.testing import FlaskClient

from nomad_actors.broker.records.holds import PauseScope

from .conftest import Parts
from .test_actions import press
from .test_pages import text_of

QUEUE = "/admin/jobs/queues/token-refresh"
NO_LIMITS = {"concurrency": None, "starts": None, "periodMs": None, "maxLength": None}


def test_a_pause_has_a_reason_and_an_end(ask: FlaskClient, parts: Parts, wait_until: Callable[..., None]) -> None:
    assert ask.post(f"{QUEUE}/pause", json={"reason": "ESI is down", "forMs": 300}).get_json()["status"] == "paused"
    (pause,) = ask.get(QUEUE).get_json()["pauses"]
    assert (pause["reason"], pause["by"], pause["scope"]) == ("ESI is down", "local", "queue")
    assert pause["until"] - pause["since"] == 300
    wait_until(lambda: ask.get(QUEUE).get_json()["pauses"] == [], what="the pause to end by itself")
    refused = ask.post(f"{QUEUE}/pause", json={"forMs": 0})
    assert refused.status_code == 422
    assert "forMs 0 is unusable (accepted: a whole number from 1" in refused.get_json()["detail"]


def test_all_that_talks_to_esi_is_paused_beside_what_is_paused_itself(ask: FlaskClient, parts: Parts) -> None:
    switch = ask.get("/admin/jobs/esi").get_json()
    assert switch == {
        "queues": ["token-refresh"],
        "isPaused": False,
        "running": ["token-refresh"],
        "pause": None,
        "pauses": {},
    }
    ask.post(f"{QUEUE}/pause")
    paused = ask.post("/admin/jobs/esi/pause", json={"reason": "downtime"}).get_json()
    assert (paused["isPaused"], paused["pause"]["reason"], paused["pause"]["scope"]) == (True, "downtime", "esi")
    assert {pause["scope"] for pause in ask.get(QUEUE).get_json()["pauses"]} == {"queue", "esi"}
    assert ask.post(f"{QUEUE}/resume").get_json()["status"] == "paused"
    assert ask.post("/admin/jobs/esi/resume").get_json()["isPaused"] is False
    assert ask.get(QUEUE).get_json()["isPaused"] is False


def test_a_queue_that_the_switch_does_not_hold_is_shown_and_can_be_paused(ask: FlaskClient, parts: Parts) -> None:
    parts.queues.register(replace(parts.queues.job_type("esi-refresh-work"), name="esi-too", talks_to_esi=True))
    assert ask.post("/admin/jobs/esi/pause", json={"reason": "downtime"}).get_json()["isPaused"] is True
    parts.queues.get_queue("esi-refresh").resume(scope=PauseScope.ESI)
    switch = ask.get("/admin/jobs/esi").get_json()
    assert (switch["isPaused"], switch["running"]) == (False, ["esi-refresh"])
    assert switch["pauses"]["token-refresh"] == switch["pause"]
    page = text_of(ask.get("/admin/").text)
    assert "token-refresh paused by local" in page
    assert "The switch does not hold esi-refresh: pause again to hold all." in page
    assert "Resume all that talks to ESI" in page
    assert "is paused until it is resumed" in press(ask, "/admin/", "/admin/esi/pause")
    switch = ask.get("/admin/jobs/esi").get_json()
    assert (switch["isPaused"], switch["running"], sorted(switch["pauses"])) == (
        True,
        [],
        ["esi-refresh", "token-refresh"],
    )


def test_limits_are_set_all_together_and_hold_at_once(ask: FlaskClient, parts: Parts) -> None:
    url = f"{QUEUE}/limits"
    assert ask.get(url).get_json() == {**NO_LIMITS, "inForce": None}
    wanted = {"concurrency": 3, "starts": 10, "periodMs": 1000, "maxLength": 1}
    assert ask.put(url, json=wanted).get_json() == {**wanted, "inForce": 3}
    parts.add()
    full = ask.post(f"{QUEUE}/jobs", json={"name": "token-refresh-work", "data": {"character_id": 1}})
    assert full.status_code == 409
    assert "token-refresh" in full.get_json()["detail"]
    assert ask.put(url, json={**wanted, "starts": None}).status_code == 422
    missing = ask.put(url, json={"concurrency": 3})
    assert missing.status_code == 422
    assert missing.get_json()["detail"] == "starts is missing (accepted: a whole number from 1 to 100000 or null)"
    # A query has no way to say null.
    assert "null" not in ask.get(f"{QUEUE}/jobs?since=x").get_json()["detail"]
    assert ask.put(url, json=NO_LIMITS).get_json() == {**NO_LIMITS, "inForce": None}
    parts.add()


def test_a_delayed_job_is_promoted(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, delay=60_000).id
    assert ask.post(f"{QUEUE}/jobs/{job_id}/promote").get_json()["status"] == "waiting"
    assert ask.post(f"{QUEUE}/jobs/{job_id}/promote").status_code == 409
