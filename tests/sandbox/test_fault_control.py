"""Faults on request: which requests fail, how often, and that others do not."""

from __future__ import annotations

import time

import pytest
import requests

from sandbox.serve import SandboxServer

from .conftest import Visitor, refresh


def add(sandbox: SandboxServer, fault: object) -> requests.Response:
    """Add a fault over HTTP, as a program in another process does."""
    return requests.post(f"{sandbox.base_url}/sandbox/faults", json=fault, timeout=10)


def test_only_the_next_responses_of_a_path_fail(sandbox: SandboxServer, trader: Visitor) -> None:
    path = f"/characters/{trader.character_id}/skills"
    assert add(sandbox, {"path": path, "status": 500, "times": 2}).status_code == 201
    assert trader.get("/wallet").status_code == 200
    assert Visitor(sandbox, 1).get("/skills").status_code == 200
    responses = [trader.request(f"/latest{path}/") for _ in range(3)]
    assert [response.status_code for response in responses] == [500, 500, 200]
    assert responses[0].json() == {"error": "Unhandled internal error encountered!"}


def test_pattern_query_and_skip_select_the_request(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.fail("*/assets", 502, query={"page": "2"}, skip=1)
    pages = [trader.get("/assets", page=page).status_code for page in (1, 2, 2, 2)]
    assert pages == [200, 200, 502, 200]


def test_bodies_and_headers_can_be_anything(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.fail("*/skills", 502, body="<html><body>Bad Gateway</body></html>")
    html = trader.get("/skills")
    assert (html.headers["Content-Type"].split(";")[0], html.text[:6]) == ("text/html", "<html>")
    sandbox.fail("*/skills", 429, headers={"Retry-After": "7"})
    assert trader.get("/skills").headers["Retry-After"] == "7"
    sandbox.fail("*/skills", 403, body={"error": "unexpected end of JSON input", "sso_status": 401})
    assert trader.get("/skills").json()["sso_status"] == 401


def test_a_response_can_be_delayed(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.fail("*/skills", delay_ms=150)
    started = time.monotonic()
    assert trader.get("/skills").status_code == 200
    assert time.monotonic() - started >= 0.15


def test_a_connection_can_be_cut(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.fail("*/skills", drop=True)
    with pytest.raises(requests.ConnectionError):
        trader.get("/skills")
    assert trader.get("/skills").status_code == 200


def test_the_token_endpoint_can_fail_before_and_after_it_rotated(sandbox: SandboxServer) -> None:
    login = sandbox.logins()[0]
    sandbox.fail("/v2/oauth/token", 503)
    assert refresh(sandbox, login["refresh_token"]).status_code == 503
    assert sandbox.logins()[0] == login
    sandbox.fail("/v2/oauth/token", 502, after=True)
    assert refresh(sandbox, login["refresh_token"]).status_code == 502
    assert sandbox.logins()[0]["refresh_token"] != login["refresh_token"]


def test_a_listing_can_be_renewed_between_its_pages(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.fail("*/wallet/journal", query={"page": "2"}, renew=True)
    made = [trader.get("/wallet/journal", page=page).headers["Last-Modified"] for page in (1, 2, 3, 1)]
    assert made[0] != made[1]
    assert made[1] == made[2] == made[3]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 500}, "path"),
        ([], "path"),
        ({"path": "/x", "stat": 1}, "unknown: stat; allowed: path, status"),
        ({"path": "/x", "status": 1_000}, "100 to 599"),
        ({"path": "/x", "times": "2"}, "times must be of type int"),
    ],
)
def test_an_invalid_fault_is_rejected_with_the_allowed_fields(
    sandbox: SandboxServer, fault: object, message: str
) -> None:
    response = add(sandbox, fault)
    assert response.status_code == 400
    assert message in response.json()["error"]


def test_faults_can_be_listed_and_cleared(sandbox: SandboxServer, trader: Visitor) -> None:
    add(sandbox, {"path": "*/skills", "status": 500, "times": 9})
    url = f"{sandbox.base_url}/sandbox/faults"
    assert [fault["times"] for fault in requests.get(url, timeout=10).json()] == [9]
    requests.delete(url, timeout=10)
    assert trader.get("/skills").status_code == 200


def test_requests_are_logged_with_their_status(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.fail("*/skills", 500)
    trader.request(f"/v4/characters/{trader.character_id}/skills/", headers={"User-Agent": "Test/1"}, page=1)
    path = f"/characters/{trader.character_id}/skills"
    [request] = sandbox.requests(path)
    assert (request.method, request.status, request.query, request.user_agent) == ("GET", 500, {"page": "1"}, "Test/1")
    url = f"{sandbox.base_url}/sandbox/requests"
    assert [each["path"] for each in requests.get(url, timeout=10).json()] == ["/v2/oauth/token", path]
    requests.delete(url, timeout=10)
    assert sandbox.requests() == []


def test_the_clock_advances_on_request(sandbox: SandboxServer) -> None:
    url = f"{sandbox.base_url}/sandbox/clock"
    before = requests.get(url, timeout=10).json()["now_ms"]
    assert requests.post(url, json={"advance_seconds": 90}, timeout=10).json()["now_ms"] == before + 90_000
    assert requests.post(url, json={"advance_seconds": -1}, timeout=10).status_code == 400
