"""Downtimes, and scripts that order them."""

from __future__ import annotations

import pytest
import requests

from sandbox.clock import SandboxClock
from sandbox.serve import SandboxServer

from .conftest import NOW_S, Visitor, refresh

DOWN = {"error": "The datasource tranquility is temporarily unavailable"}
#: 2026-11-24 11:00:00 UTC.
NEXT_DAILY_S = 1_795_518_000


def status(sandbox: SandboxServer, path: str = "/status") -> requests.Response:
    return requests.get(sandbox.base_url + path, timeout=10)


def test_esi_is_down_with_ccps_text_and_up_afterwards(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.script({"at_s": 10, "for_s": 60, "downtime": "esi"})
    assert trader.get("/skills").status_code == 200
    sandbox.advance(10)
    for response in (trader.get("/skills"), trader.get("/orders"), status(sandbox)):
        assert (response.status_code, response.json()) == (503, DOWN)
    assert {each["status"] for each in status(sandbox, "/meta/status").json()["routes"]} == {"Down"}
    assert refresh(sandbox, trader.refresh_token).status_code == 200, "SSO is another service"
    sandbox.advance(60)
    assert trader.get("/skills").status_code == 200
    assert status(sandbox).json()["start_time"] == "2026-11-23T17:01:10Z"
    assert {each["status"] for each in status(sandbox, "/meta/status").json()["routes"]} == {"Recovering"}
    sandbox.advance(300)
    assert {each["status"] for each in status(sandbox, "/meta/status").json()["routes"]} == {"OK"}


def test_a_downtime_counts_as_errors_only_on_routes_without_tokens(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.script({"for_s": 60, "downtime": "esi"})
    assert trader.get("/wallet").headers["X-Ratelimit-Used"] == "0"
    assert trader.get("/orders").headers["X-ESI-Error-Limit-Remain"] == "99"


def test_sso_is_down_with_a_proxys_page(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.script({"for_s": 60, "downtime": "sso"})
    for response in (refresh(sandbox, trader.refresh_token), status(sandbox, "/oauth/jwks")):
        assert (response.status_code, response.text[:6]) == (503, "<html>")
    assert trader.get("/skills").status_code == 200
    sandbox.advance(60)
    assert refresh(sandbox, trader.refresh_token).status_code == 200


def test_the_daily_downtime_is_at_eleven_if_it_is_asked_for() -> None:
    with SandboxServer(characters=1, clock=SandboxClock(frozen_at_s=NEXT_DAILY_S)) as sandbox:
        assert status(sandbox).status_code == 200
        url = f"{sandbox.base_url}/sandbox/downtime"
        assert requests.post(url, json={"daily": True}, timeout=10).json()["down"] == {"esi": True, "sso": False}
        assert status(sandbox).status_code == 503
        sandbox.advance(240)
        assert status(sandbox).json()["start_time"] == "2026-11-24T11:04:00Z"
        assert requests.post(url, json={"daily": "yes"}, timeout=10).status_code == 400


def test_a_script_acts_at_its_times(sandbox: SandboxServer, trader: Visitor) -> None:
    owner = sandbox.logins()[1]["owner_hash"]
    other = sandbox.logins()[1]["character_id"]
    sandbox.script(
        {"at_s": 30, "sell": other},
        {"at_s": 20, "kill": trader.character_id, "kind": "dead-expired"},
        {"at_s": 10, "for_s": 5, "fault": {"path": "*/skills", "kind": "unhandled"}},
        {"at_s": 40, "exhaust_errors": True},
    )
    sandbox.advance(12)
    assert [trader.get("/skills").status_code for _ in range(2)] == [500, 500]
    sandbox.advance(3)
    assert trader.get("/skills").status_code == 200, "it lasts from its own time, not from the first request after it"
    sandbox.advance(5)
    assert refresh(sandbox, trader.refresh_token).json()["error"] == "invalid_token"
    assert sandbox.logins()[1]["owner_hash"] == owner
    sandbox.advance(20)
    assert trader.get("/skills").status_code == 420
    assert sandbox.logins()[1]["owner_hash"] != owner
    sandbox.advance(20)
    assert trader.get("/skills").status_code == 200
    steps = requests.get(f"{sandbox.base_url}/sandbox/script", timeout=10).json()["steps"]
    assert [(step["due_ms"] - NOW_S * 1000, step["done"]) for step in steps] == [
        (10_000, True),
        (20_000, True),
        (30_000, True),
        (40_000, True),
    ]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({}, "a list"),
        ([{"at_s": 1}], "one of fault, downtime"),
        ([{"at_s": -1, "speed": 2}], "0 or more"),
        ([{"kill": 5}], "no character 5"),
        ([{"downtime": "esi"}], "for_s"),
        ([{"fault": {"path": "*", "kind": "no"}}], "kind must be one of"),
    ],
)
def test_an_invalid_step_is_refused_and_none_is_added(sandbox: SandboxServer, steps: object, message: str) -> None:
    url = f"{sandbox.base_url}/sandbox/script"
    refused = requests.post(url, json={"steps": steps}, timeout=10)
    assert refused.status_code == 400
    assert message in refused.json()["error"]
    assert requests.get(url, timeout=10).json() == {"steps": []}


def test_a_script_can_be_cleared_with_its_downtimes(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.script({"for_s": 60, "downtime": "esi"}, {"at_s": 5, "kill": trader.character_id})
    requests.delete(f"{sandbox.base_url}/sandbox/script", timeout=10)
    sandbox.advance(5)
    assert trader.get("/skills").status_code == 200
    assert refresh(sandbox, trader.refresh_token).status_code == 200


def test_a_step_whose_time_has_passed_unseen_acts_as_of_its_time(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.script({"at_s": 30, "exhaust_errors": True}, {"at_s": 30, "for_s": 20, "downtime": "esi"})
    sandbox.advance(61)
    assert trader.get("/skills").status_code == 200, "both the minute and the downtime are over"
