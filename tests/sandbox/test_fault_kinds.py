"""Faults by name, by rate and by time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import requests

from sandbox.fault_kinds import DEAD_LOGINS, KINDS
from sandbox.faults import Fault
from sandbox.serve import SandboxServer

from .conftest import Visitor, refresh

#: What each kind of ESI's fault looks like: status and body.
ERRORS = {
    "hidden-429": (429, {"error": "Rate limit exceeded"}),
    "throttled": (520, {"error": "ConStopSpamming, details: {'remainingTime': 60000000}"}),
    "unhandled": (500, {"error": "Unhandled internal error encountered!"}),
    "unavailable": (503, {"error": "The datasource tranquility is temporarily unavailable"}),
    "unauthorized": (401, {"error": "token is not valid"}),
    "forbidden": (403, {"error": "Forbidden"}),
    "not-found": (404, {"error": "Not found"}),
    "sso-status": (403, {"error": "unexpected end of JSON input", "sso_status": 401}),
    "sso-responded": (403, {"error": "SSO responded with a 502: Bad Gateway", "sso_status": 502}),
    "sso-too-far": (403, {"error": "token expiry is too far in the future", "sso_status": 200}),
}
BODIES = {
    "null": (200, "null"),
    "empty-string": (200, '""'),
    "error-object": (200, '{"error":"Timeout contacting tranquility"}'),
    "empty-body": (200, ""),
    "empty-list": (200, "[]"),
    "no-content": (204, ""),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_is_a_fault(kind: str) -> None:
    assert Fault.from_json({"path": "*", "kind": kind}).kind == kind


@pytest.mark.parametrize(("kind", "expected"), ERRORS.items())
def test_an_error_of_esi_has_its_status_and_text(
    sandbox: SandboxServer, trader: Visitor, kind: str, expected: tuple[int, object]
) -> None:
    sandbox.fail("*/wallet", kind=kind)
    response = trader.get("/wallet")
    assert (response.status_code, response.json()) == expected
    assert trader.get("/wallet").status_code == 200


def test_a_hidden_429_has_no_headers_of_any_limiter(sandbox: SandboxServer, trader: Visitor) -> None:
    for path in ("/wallet", "/orders"):
        sandbox.fail(f"*{path}", kind="hidden-429")
        headers = trader.get(path).headers
        assert not [name for name in headers if name.lower().startswith(("x-ratelimit", "x-esi-error", "retry"))]


@pytest.mark.parametrize(("kind", "expected"), BODIES.items())
def test_a_wrong_body_comes_with_the_headers_of_the_right_one(
    sandbox: SandboxServer, trader: Visitor, kind: str, expected: tuple[int, str]
) -> None:
    good = trader.get("/wallet")
    sandbox.fail("*/wallet", kind=kind)
    wrong = trader.get("/wallet")
    assert (wrong.status_code, wrong.text) == expected
    assert wrong.headers["ETag"] == good.headers["ETag"]
    unchanged = trader.get("/wallet", headers={"If-None-Match": wrong.headers["ETag"]})
    assert unchanged.status_code == 304, "a client that kept the ETag is stuck with the wrong body"


def test_bodies_can_be_html_or_end_early(sandbox: SandboxServer, trader: Visitor) -> None:
    complete = trader.get("/wallet/journal").text
    for kind in ("html", "truncated", "cut"):
        sandbox.fail("*/wallet/journal", kind=kind)
    assert trader.get("/wallet/journal").text.startswith("<html>")
    truncated = trader.get("/wallet/journal")
    assert len(truncated.content) == int(truncated.headers["Content-Length"]) == len(complete) // 2
    with pytest.raises(requests.RequestException):
        trader.get("/wallet/journal")


def test_pages_can_be_of_different_times_and_numbers(sandbox: SandboxServer, trader: Visitor) -> None:
    first = trader.get("/assets").headers
    for kind in ("mixed-page", "more-pages", "no-x-pages"):
        sandbox.fail("*/assets", kind=kind, query={"page": "2"})
    mixed, more, without = (trader.get("/assets", page=2).headers for _ in range(3))
    assert mixed["Last-Modified"] != first["Last-Modified"]
    assert int(more["X-Pages"]) == int(first["X-Pages"]) + 1
    assert "X-Pages" not in without


def test_a_hang_lasts_ten_seconds_of_the_sandboxs_clock(
    sandbox: SandboxServer, trader: Visitor, wait_until: Callable[..., None]
) -> None:
    sandbox.fail("*/skills", kind="hang")
    responses: list[requests.Response] = []
    request = threading.Thread(target=lambda: responses.append(trader.get("/skills")))
    request.start()
    wait_until(lambda: not sandbox.parts.faults.waiting(), what="the request")
    sandbox.advance(9.9)
    assert not responses
    sandbox.advance(0.1)
    request.join(10)
    assert (responses[0].status_code, responses[0].json()["timeout"]) == (504, 10)


def failing(seed: int) -> list[bool]:
    """Return which of 200 requests fail at a rate of a tenth."""
    with SandboxServer(seed=seed, characters=1) as server:
        server.fail("/status", kind="unhandled", share=0.1)
        return [requests.get(f"{server.base_url}/status", timeout=10).status_code == 500 for _ in range(200)]


def test_a_share_fails_at_random_but_the_same_for_a_seed() -> None:
    first = failing(7)
    assert 8 <= sum(first) <= 35
    assert failing(7) == first
    assert failing(8) != first


def test_every_nth_request_can_fail(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.fail("*/skills", kind="unhandled", every=3, times=2)
    statuses = [trader.get("/skills").status_code for _ in range(9)]
    assert [at for at, status in enumerate(statuses, 1) if status == 500] == [3, 6]


def test_a_fault_has_a_beginning_and_an_end(sandbox: SandboxServer, trader: Visitor) -> None:
    sandbox.fail("*/skills", kind="unhandled", at_s=10, for_s=5)
    statuses = []
    for _ in range(4):
        statuses.append(trader.get("/skills").status_code)
        sandbox.advance(5)
    assert statuses == [200, 200, 500, 200]
    assert sandbox.parts.faults.waiting() == []


def test_a_fault_can_be_for_one_character_at_esi_and_sso(sandbox: SandboxServer, trader: Visitor) -> None:
    other = Visitor(sandbox, 1)
    for path in ("/characters/*", "/v2/oauth/token"):
        sandbox.fail(path, 500, character_id=trader.character_id)
    assert (other.get("/skills").status_code, trader.get("/skills").status_code) == (200, 500)
    assert refresh(sandbox, other.refresh_token).status_code == 200
    assert refresh(sandbox, trader.refresh_token).status_code == 500


@pytest.mark.parametrize("kind", DEAD_LOGINS)
def test_a_dead_login_has_the_text_of_its_cause(sandbox: SandboxServer, kind: str) -> None:
    login = sandbox.logins()[0]
    url = f"{sandbox.base_url}/sandbox/logins/{login['character_id']}?kind={kind}"
    assert requests.delete(url, timeout=10).status_code == 204
    response = refresh(sandbox, login["refresh_token"])
    error, description = DEAD_LOGINS[kind]
    assert (response.status_code, response.json()) == (400, {"error": error, "error_description": description})


def test_an_unknown_kind_is_refused_with_the_known_ones(sandbox: SandboxServer) -> None:
    url = f"{sandbox.base_url}/sandbox/faults"
    refused = requests.post(url, json={"path": "*", "kind": "nothing"}, timeout=10)
    assert refused.status_code == 400
    assert "hidden-429" in refused.json()["error"]
    assert set(requests.get(f"{url}/kinds", timeout=10).json()) == set(KINDS)
