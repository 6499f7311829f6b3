"""The conduct record: what a careless client does is recorded with its reason, what a careful one does is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from sandbox.clock import SandboxClock
from sandbox.conduct.reasons import REASONS
from sandbox.serve import SandboxServer

from .conftest import NOW_S, Visitor, refresh
from .test_sso import log_in

POLITE = {"User-Agent": "nomad-tests/1 (tests@example.com)", "X-Compatibility-Date": "2026-07-17"}
HOUR_S = 3_600


class Client:
    """A visitor that sends what every request needs, and remembers nothing."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor

    def get(self, path: str, *, etag: str | None = None, **query: Any) -> requests.Response:
        headers = POLITE | ({"If-None-Match": etag} if etag else {})
        return self.visitor.get(path, headers=headers, **query)


@pytest.fixture
def client(trader: Visitor) -> Client:
    """A polite client of a trader."""
    return Client(trader)


def reasons(sandbox: SandboxServer) -> list[str]:
    """Return the recorded reasons, oldest first."""
    return [each["reason"] for each in sandbox.conduct()["violations"]]


def status(sandbox: SandboxServer) -> requests.Response:
    return requests.get(f"{sandbox.base_url}/status", headers=POLITE, timeout=10)


def test_a_careful_client_has_an_empty_record(sandbox: SandboxServer, client: Client) -> None:
    for _ in range(3):
        client.visitor.renew()
        first = client.get("/assets")
        for page in range(2, int(first.headers["X-Pages"]) + 1):
            client.get("/assets", page=page)
        sandbox.advance(HOUR_S)
        client.visitor.renew()
        assert client.get("/assets", etag=first.headers["ETag"]).status_code in (200, 304)
        sandbox.advance(HOUR_S + 1)
        client = Client(client.visitor)
        sandbox.parts.conduct.restart()
    assert sandbox.conduct() == {"total": 0, "left_out": 0, "reasons": [], "violations": []}


def test_a_violation_says_who_did_what_and_why(sandbox: SandboxServer, client: Client) -> None:
    client.get("/wallet")
    sandbox.advance(20)
    client.get("/wallet", page=1)
    record = sandbox.conduct()
    assert record == requests.get(f"{sandbox.base_url}/sandbox/conduct", timeout=10).json()
    assert record["violations"] == [
        {
            "at_ms": (NOW_S + 20) * 1000,
            "reason": "before-expiry",
            "detail": "100.0 s too early",
            "method": "GET",
            "path": f"/characters/{client.visitor.character_id}/wallet",
            "query": {"page": "1"},
            "status": 200,
            "character_id": client.visitor.character_id,
        }
    ]
    [reason] = record["reasons"]
    assert (reason["reason"], reason["count"], reason["source"]) == (
        "before-expiry",
        1,
        REASONS["before-expiry"].source,
    )
    assert requests.delete(f"{sandbox.base_url}/sandbox/conduct", timeout=10).status_code == 204
    assert sandbox.conduct()["total"] == 0


def test_the_record_keeps_counting_when_it_is_full(
    sandbox: SandboxServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.conduct.record.MAX_VIOLATIONS", 2)
    for _ in range(4):
        client.get("/wallet")
    record = sandbox.conduct()
    assert (record["total"], record["left_out"], len(record["violations"])) == (3, 1, 2)


def test_requests_inside_a_ban_are_recorded_but_not_those_before_it_was_known(
    sandbox: SandboxServer, client: Client
) -> None:
    sandbox.script({"exhaust_errors": True})
    reset_s = int(client.get("/wallet").headers["X-ESI-Error-Limit-Reset"])
    assert reasons(sandbox) == []
    client.get("/skills")
    sandbox.advance(reset_s - 1)
    status(sandbox)
    sandbox.advance(1)
    client.get("/skills")
    assert reasons(sandbox) == ["inside-ban", "inside-ban"]


def test_what_other_processes_cannot_know_yet_is_within_the_grace() -> None:
    clock = SandboxClock(frozen_at_s=NOW_S)
    with SandboxServer(characters=1, clock=clock, grace_s=3_600) as sandbox:
        client = Client(Visitor(sandbox, 0))
        sandbox.script({"exhaust_errors": True})
        client.get("/wallet")
        client.get("/skills")
        assert reasons(sandbox) == []


def test_requests_before_retry_after_are_recorded_for_their_bucket_only(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fail("*/wallet", kind="429")
    client.get("/wallet")
    client.get("/skills")
    client.get("/loyalty/points")
    assert reasons(sandbox) == ["before-retry-after"]
    sandbox.advance(30)
    client.get("/wallet")
    assert len(reasons(sandbox)) == 1


def test_a_hidden_429_needs_a_growing_pause(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fail("*/orders", kind="hidden-429", times=2)
    client.get("/orders")
    sandbox.advance(29)
    client.get("/orders")
    assert reasons(sandbox) == ["before-backoff"]
    sandbox.advance(59)
    client.get("/orders")
    assert reasons(sandbox) == ["before-backoff"] * 2
    sandbox.advance(1)
    client.get("/orders", etag="x")
    assert reasons(sandbox)[2:] == ["before-expiry"]


def test_overdrawn_buckets_are_recorded(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fail("*/notifications", kind="unauthorized", times=3)
    for _ in range(4):
        client.get("/notifications")
    assert reasons(sandbox) == ["overdrawn-bucket"], "15 tokens are three errors; the fourth has none"
    sandbox.advance(600)
    client.visitor.renew()
    sandbox.parts.conduct.restart()
    sandbox.advance(301)
    assert client.get("/notifications").status_code == 200
    sandbox.fail("*/notifications", kind="unauthorized", times=3)
    for _ in range(3):
        client.get("/notifications", x=1)
    assert reasons(sandbox) == ["overdrawn-bucket"], "13 tokens are not enough for three errors"


def test_the_error_budget_must_not_fall_below_twenty(sandbox: SandboxServer, client: Client) -> None:
    # Away from the whole hour.
    sandbox.advance(30)
    sandbox.fail("*/orders", kind="unhandled", times=81)
    for _ in range(80):
        client.get("/orders")
    assert reasons(sandbox) == []
    client.get("/orders")
    client.get("/orders/history")
    assert reasons(sandbox) == ["error-budget", "error-budget"]
    sandbox.advance(60)
    client.get("/orders")
    assert len(reasons(sandbox)) == 2


def test_while_esi_is_down_one_probe_is_allowed(sandbox: SandboxServer, client: Client) -> None:
    sandbox.script({"for_s": 600, "downtime": "esi"})
    client.get("/wallet")
    status(sandbox)
    assert reasons(sandbox) == []
    client.get("/wallet")
    sandbox.advance(9)
    status(sandbox)
    assert reasons(sandbox) == ["request-while-down", "too-many-probes"]
    sandbox.advance(10)
    status(sandbox)
    refresh(sandbox, client.visitor.refresh_token)
    assert len(reasons(sandbox)) == 2
    sandbox.advance(600)
    client.get("/wallet")
    assert len(reasons(sandbox)) == 2


def test_a_probe_is_no_reading_of_a_fresh_status(sandbox: SandboxServer) -> None:
    status(sandbox)
    sandbox.script({"for_s": 11, "downtime": "esi"})
    for _ in range(3):
        status(sandbox)
        sandbox.advance(10)
    assert reasons(sandbox) == [], "the last one was answered by ESI, within 30 s of the first"


def test_while_sso_is_down_one_probe_is_allowed(sandbox: SandboxServer, client: Client) -> None:
    sandbox.script({"for_s": 600, "downtime": "sso"})
    for _ in range(3):
        refresh(sandbox, client.visitor.refresh_token)
    assert reasons(sandbox) == ["too-many-probes"], "the first told it, the second is the probe"


def test_a_known_etag_must_be_sent_once_the_document_has_expired(sandbox: SandboxServer, client: Client) -> None:
    etag = client.get("/attributes").headers["ETag"]
    sandbox.advance(120)
    assert client.get("/attributes", etag=etag).status_code == 304
    assert reasons(sandbox) == []
    sandbox.advance(120)
    client.get("/attributes")
    assert reasons(sandbox) == ["without-etag"]


def test_a_conditional_request_of_a_fresh_document_could_have_been_avoided_too(
    sandbox: SandboxServer, client: Client
) -> None:
    etag = client.get("/attributes").headers["ETag"]
    client.get("/attributes", etag=etag)
    assert reasons(sandbox) == ["before-expiry"]


def test_two_requests_of_one_document_at_once_could_have_been_one(
    sandbox: SandboxServer, client: Client, wait_until: Callable[..., None]
) -> None:
    sandbox.fail("*/attributes", hang_s=5, times=2)
    both = [threading.Thread(target=client.get, args=("/attributes",)) for _ in range(2)]
    for thread in both:
        thread.start()
    wait_until(lambda: not sandbox.parts.faults.waiting(), what="both requests")
    sandbox.advance(5)
    for thread in both:
        thread.join(10)
    assert reasons(sandbox) == ["before-expiry"]


@pytest.mark.parametrize("kind", ["null", "truncated", "html", "lost", "unhandled"])
def test_what_was_not_received_may_be_requested_anew(sandbox: SandboxServer, client: Client, kind: str) -> None:
    sandbox.fail("*/attributes", kind=kind)
    try:
        client.get("/attributes")
    except requests.ConnectionError:
        assert kind == "lost"
    client.get("/attributes")
    assert reasons(sandbox) == []


def test_a_set_of_pages_that_do_not_fit_may_be_requested_anew(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fail("*/assets", query={"page": "2"}, kind="mixed-page")
    for _ in range(2):
        client.get("/assets")
        client.get("/assets", page=2)
    assert reasons(sandbox) == []
    client.get("/assets")
    assert reasons(sandbox) == ["before-expiry"]


def test_pages_beyond_the_end_are_recorded(sandbox: SandboxServer, client: Client) -> None:
    pages = int(client.get("/assets").headers["X-Pages"])
    client.get("/assets", page=pages)
    client.get("/assets", page=pages + 1)
    client.get("/blueprints", page=9)
    assert reasons(sandbox) == ["page-beyond-end", "page-beyond-end"]


def test_a_walk_that_starts_near_expiry_is_recorded_but_not_one_that_lasts_until_it(
    sandbox: SandboxServer, client: Client
) -> None:
    client.get("/assets")
    sandbox.advance(600)
    client.get("/assets", page=2)
    sandbox.advance(HOUR_S - 604)
    client.visitor.renew()
    client.get("/assets", page=3)
    assert reasons(sandbox) == []
    client.get("/wallet/journal")
    sandbox.advance(HOUR_S - 4)
    client.visitor.renew()
    client.get("/wallet/journal", page=2)
    assert reasons(sandbox) == ["walk-near-expiry"]


@pytest.mark.parametrize("kind", ["forbidden", "not-found"])
def test_a_refusal_must_be_remembered_for_growing_intervals(sandbox: SandboxServer, client: Client, kind: str) -> None:
    sandbox.fail("*/skills", kind=kind, times=2)
    client.get("/skills")
    client.get("/wallet")
    sandbox.advance(300)
    client.get("/skills")
    assert reasons(sandbox) == []
    sandbox.advance(300)
    client.get("/skills")
    assert reasons(sandbox) == ["repeated-refusal"]


def test_a_new_login_ends_refusals_and_what_was_kept(sandbox: SandboxServer, client: Client) -> None:
    client.get("/attributes")
    sandbox.fail("*/skills", kind="forbidden")
    client.get("/skills")
    scopes = " ".join(sandbox.logins()[0]["scopes"])
    client.visitor.access_token = log_in(sandbox, client.visitor.character_id, scopes).json()["access_token"]
    client.get("/skills")
    client.get("/attributes")
    assert reasons(sandbox) == []


def test_a_403_of_sso_is_no_refusal(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fail("*/skills", kind="sso-status")
    client.get("/skills")
    client.get("/skills")
    assert reasons(sandbox) == []


@pytest.mark.parametrize(
    ("agent", "is_poor"),
    [
        ("nomad/1 (ada@example.com)", False),
        ("nomad/1 (+https://example.com/nomad)", False),
        ("nomad/1 (eve:Ada Lovelace)", False),
        ("nomad/1", True),
        ("nomad-actors/0.1.0 (set ESI_USER_AGENT to your contact)", True),
        ("python-requests/2.34.2", True),
        ("", True),
    ],
)
def test_the_user_agent_needs_a_contact(sandbox: SandboxServer, trader: Visitor, agent: str, is_poor: bool) -> None:
    trader.get("/wallet", headers=POLITE | {"User-Agent": agent})
    assert reasons(sandbox) == (["user-agent"] if is_poor else [])


def test_the_compatibility_date_must_be_sent(sandbox: SandboxServer, trader: Visitor) -> None:
    agent = {"User-Agent": POLITE["User-Agent"]}
    trader.get("/wallet", headers=agent)
    trader.get("/skills", headers=agent, compatibility_date="2026-07-17")
    assert reasons(sandbox) == ["compatibility-date"]


def test_expired_tokens_are_recorded(sandbox: SandboxServer, client: Client) -> None:
    sandbox.advance(1_199)
    client.get("/wallet")
    sandbox.advance(1)
    client.get("/skills")
    assert reasons(sandbox) == ["expired-token"]


def at_once(sandbox: SandboxServer, tokens: list[str], wait_until: Callable[..., None]) -> None:
    """Refresh several tokens, all of which are under way together."""
    sandbox.fail("/v2/oauth/token", hang_s=1, times=len(tokens))
    threads = [threading.Thread(target=refresh, args=(sandbox, token)) for token in tokens]
    for thread in threads:
        thread.start()
    wait_until(lambda: not sandbox.parts.faults.waiting(), what="all refreshes")
    sandbox.advance(1)
    for thread in threads:
        thread.join(10)


def test_more_than_four_refreshes_at_once_are_recorded(sandbox: SandboxServer, wait_until: Callable[..., None]) -> None:
    at_once(sandbox, [login["refresh_token"] for login in sandbox.logins()[:4]], wait_until)
    assert reasons(sandbox) == []
    at_once(sandbox, [login["refresh_token"] for login in sandbox.logins()[:5]], wait_until)
    assert reasons(sandbox) == ["sso-parallel"]


def test_two_refreshes_of_a_character_at_once_are_recorded(
    sandbox: SandboxServer, wait_until: Callable[..., None]
) -> None:
    at_once(sandbox, [sandbox.logins()[0]["refresh_token"]] * 2, wait_until)
    assert reasons(sandbox) == ["refresh-twice-at-once"]


def test_a_replaced_refresh_token_must_not_be_used(sandbox: SandboxServer) -> None:
    old = sandbox.logins()[0]["refresh_token"]
    refresh(sandbox, old)
    refresh(sandbox, old)
    assert reasons(sandbox) == ["rotated-token"]
    [violation] = sandbox.conduct()["violations"]
    assert violation["character_id"] == sandbox.logins()[0]["character_id"]


@pytest.mark.parametrize("kind", ["sso-lost", "sso-no-token"])
def test_a_client_that_never_got_the_new_token_cannot_know_better(sandbox: SandboxServer, kind: str) -> None:
    old = sandbox.logins()[0]["refresh_token"]
    sandbox.fail("/v2/oauth/token", kind=kind, after=True)
    try:
        refresh(sandbox, old)
    except requests.ConnectionError:
        assert kind == "sso-lost"
    assert refresh(sandbox, old).status_code == 400
    assert reasons(sandbox) == []


def test_a_burst_on_the_whole_hour_is_recorded() -> None:
    # 17:59:00, and all in one go at 18:00:00.
    with SandboxServer(characters=25, clock=SandboxClock(frozen_at_s=NOW_S + HOUR_S - 60), grace_s=0) as sandbox:
        ids = [login["character_id"] for login in sandbox.logins()]
        sandbox.advance(60)
        for character_id in ids:
            requests.get(f"{sandbox.base_url}/characters/{character_id}", headers=POLITE, timeout=10)
        assert reasons(sandbox) == ["hour-burst"] * 5, "20 are no burst"
        sandbox.advance(120)
        for character_id in ids:
            path = f"/characters/{character_id}/corporationhistory"
            requests.get(sandbox.base_url + path, headers=POLITE, timeout=10)
        assert len(reasons(sandbox)) == 5


def test_every_reason_names_its_source() -> None:
    assert all(reason.rule and reason.source.startswith("https://") for reason in REASONS.values())


def test_counters_compare_a_client_with_the_best_one(sandbox: SandboxServer, client: Client) -> None:
    def counters() -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{sandbox.base_url}/sandbox/counters", timeout=10).json()
        assert found == sandbox.counters()
        return found

    assert counters()["unchanged"] == {"responses": 0, "not_modified": 0, "share": None}
    etag = client.get("/attributes").headers["ETag"]
    client.get("/attributes", etag=etag)
    sandbox.advance(120)
    client.get("/attributes", etag=etag)
    client.get("/attributes")
    sandbox.fail("*/attributes", kind="unhandled")
    client.get("/attributes")
    found = counters()
    route = "/characters/{character_id}/attributes"
    assert [each for each in found["requests"] if each["route"] == route] == [
        {"method": "GET", "route": route, "status": status, "count": count}
        for status, count in ((200, 2), (304, 2), (500, 1))
    ]
    assert found["esi_requests"] == {"sent": 5, "fewest": 2}, "one for each two minutes"
    assert found["unchanged"] == {"responses": 3, "not_modified": 2, "share": pytest.approx(2 / 3)}


def test_a_request_that_the_sandbox_spoiled_was_needed(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fail("*/attributes", kind="unhandled")
    client.get("/attributes")
    client.get("/attributes")
    assert sandbox.counters()["esi_requests"] == {"sent": 2, "fewest": 2}
