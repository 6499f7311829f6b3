"""One route of one character is requested only when allowed and useful, and stored with its rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import redis

from nomad_actors import queues
from nomad_actors.app import App
from nomad_actors.broker import PermanentError
from nomad_actors.clock import ManualClock
from nomad_actors.errors import BadInput, BadPayload
from nomad_actors.esi import GROUPS, ROUTES, EsiError, EsiUnavailable, NotSent
from nomad_actors.jobs import refresh_character_data, refresh_esi_data
from nomad_actors.jobs.due_times import SLACK_MS
from nomad_actors.jobs.esi_refresh import ESI_DATA_REFRESH, EsiRefreshPayload, EsiRefreshResult, run
from nomad_actors.jobs.services import Services
from sandbox.serve import SandboxServer

WALLET = "/characters/{character_id}/wallet"
LOCATION = "/characters/{character_id}/location"
ATTRIBUTES = "/characters/{character_id}/attributes"
JOURNAL = "/characters/{character_id}/wallet/journal"

Advance = Callable[[float], None]
Refresh = Callable[..., EsiRefreshResult]
Rows = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def refresh(services: Services, seeded: dict[str, Any]) -> Refresh:
    """`refresh(endpoint, services=…, **payload)`: run the job for this test's character."""

    def now(endpoint: str, *, with_: Services = services, **more: Any) -> EsiRefreshResult:
        payload = ESI_DATA_REFRESH.validate(
            {"character_id": seeded["character_id"], "user_id": seeded["user_id"], "endpoint": endpoint} | more
        )
        assert isinstance(payload, EsiRefreshPayload)
        return run(payload, with_)

    return now


def test_the_first_refresh_stores_document_validator_and_cache(
    services: Services, seeded: dict[str, Any], refresh: Refresh, clock: ManualClock
) -> None:
    result = refresh("/latest/characters/{character_id}/wallet/")
    assert (result.outcome, result.sent, result.endpoint) == ("updated", True, WALLET)
    state = services.store.documents.state(seeded["character_id"], WALLET)
    assert state is not None
    assert state.etag
    assert state.fresh_until_ms == result.fresh_until_ms
    assert clock.now_ms() < state.fresh_until_ms <= clock.now_ms() + 125_000
    body = services.store.documents.body(seeded["character_id"], WALLET)
    assert isinstance(body, Decimal)
    cached = services.cache.get(seeded["character_id"], ROUTES[WALLET])
    assert cached is not None
    assert cached.body == body


def test_a_fresh_copy_is_used_without_a_request(refresh: Refresh, sandbox: SandboxServer) -> None:
    refresh(WALLET)
    sandbox.parts.log.clear()
    result = refresh(WALLET)
    assert (result.outcome, result.sent) == ("fresh", False)
    assert sandbox.requests() == []


def test_skip_cache_sends_nothing_before_ccps_freshness_ends_and_brings_the_next_refresh_forward(
    services: Services, seeded: dict[str, Any], refresh: Refresh, sandbox: SandboxServer
) -> None:
    first = refresh(LOCATION)
    sandbox.parts.log.clear()
    result = refresh(LOCATION, skip_cache=True, requested_by="user")
    assert (result.outcome, result.sent) == ("fresh", False)
    assert sandbox.requests() == []
    state = services.store.documents.state(seeded["character_id"], LOCATION)
    assert state is not None
    assert first.fresh_until_ms is not None
    assert (state.next_due_ms, state.due_priority) == (first.fresh_until_ms + SLACK_MS, 2)


def test_skip_cache_sends_a_request_before_our_own_interval_ends(refresh: Refresh, advance: Advance) -> None:
    refresh(LOCATION)
    advance(30)
    assert refresh(LOCATION).outcome == "fresh"
    assert refresh(LOCATION, skip_cache=True).sent


def test_a_not_modified_response_renews_our_copy(
    services: Services, seeded: dict[str, Any], refresh: Refresh, advance: Advance
) -> None:
    first = refresh(ATTRIBUTES)
    body = services.store.documents.body(seeded["character_id"], ATTRIBUTES)
    services.cache.clean_all(dry_run=False)
    advance(4_000)
    result = refresh(ATTRIBUTES)
    assert result.outcome == "not_modified"
    assert first.fresh_until_ms is not None
    assert result.fresh_until_ms == first.fresh_until_ms + 4_000_000
    assert services.store.documents.body(seeded["character_id"], ATTRIBUTES) == body
    cached = services.cache.get(seeded["character_id"], ROUTES[ATTRIBUTES])
    assert cached is not None
    assert cached.body == body


def test_a_listing_of_several_pages_is_requested_in_full(
    refresh: Refresh, advance: Advance, sandbox: SandboxServer
) -> None:
    pages = refresh(JOURNAL).pages
    assert pages > 1
    advance(4_000)
    sandbox.parts.log.clear()
    assert refresh(JOURNAL).outcome == "updated"
    journal = [heard for heard in sandbox.requests() if heard.path.endswith("/journal")]
    assert [heard.status for heard in journal] == [200] * len(journal)
    assert len(journal) >= pages


def test_all_pages_are_stored_as_rows(refresh: Refresh, rows: Rows, services: Services, seeded: dict[str, Any]) -> None:
    result = refresh(JOURNAL)
    body = services.store.documents.body(seeded["character_id"], JOURNAL)
    ids = {entry["id"] for entry in body}
    assert result.rows_new == len(ids) > 0
    assert rows("SELECT count(*) FROM wallet_journal") == [(len(ids),)]


def test_a_missing_scope_fails_at_once_by_name_and_sends_nothing(
    services: Services, seeded: dict[str, Any], refresh: Refresh, sandbox: SandboxServer
) -> None:
    services.store.logins.save(**(seeded | {"scopes": ["esi-skills.read_skills.v1"]}))
    with pytest.raises(PermanentError, match=r"lacks the scope esi-wallet\.read_character_wallet\.v1"):
        refresh(WALLET)
    assert sandbox.requests() == []


def test_a_route_without_scope_needs_no_token(refresh: Refresh, services: Services, seeded: dict[str, Any]) -> None:
    services.store.logins.require_login(seeded["character_id"], 1, reason="dead")
    assert refresh("/characters/{character_id}").outcome == "updated"
    with pytest.raises(PermanentError, match="must log in again: dead"):
        refresh(WALLET)


def test_a_character_that_never_logged_in_fails_at_once(services: Services) -> None:
    payload = EsiRefreshPayload(character_id=5, user_id=1, endpoint=WALLET)
    with pytest.raises(PermanentError, match="character 5 never logged in"):
        run(payload, services)


def test_when_esi_is_down_the_reason_and_the_next_attempt_are_stored(
    services: Services, seeded: dict[str, Any], refresh: Refresh, clock: ManualClock, sandbox: SandboxServer
) -> None:
    sandbox.fail("/characters/*/wallet", 502, times=20)
    with pytest.raises(EsiUnavailable):
        refresh(WALLET)
    state = services.store.documents.state(seeded["character_id"], WALLET)
    assert state is not None
    assert (state.failures, state.synced_ms) == (1, None)
    assert state.error
    assert state.request_id
    # Still due: what is not the route's own fault makes nothing less fresh than it must be.
    assert state.next_due_ms == clock.now_ms()
    sandbox.parts.faults.clear()
    assert refresh(WALLET).outcome == "updated"


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_remembered_and_asked_again_less_and_less_often(
    services: Services,
    seeded: dict[str, Any],
    refresh: Refresh,
    clock: ManualClock,
    sandbox: SandboxServer,
    advance: Advance,
    status: int,
) -> None:
    sandbox.fail("/characters/*/wallet", status, times=20, body={"error": "Forbidden"})
    waits = []
    for number in range(1, 4):
        with pytest.raises(PermanentError, match="ESI refuses"):
            refresh(WALLET)
        state = services.store.documents.state(seeded["character_id"], WALLET)
        assert state is not None
        assert state.next_due_ms == state.refused_until_ms
        waits.append(state.next_due_ms - clock.now_ms())
        # Whoever asks meanwhile is told so, and nothing is sent.
        for asked_by in ("user", "schedule"):
            with pytest.raises(
                PermanentError, match=r"^nothing was sent for .* ESI answered 40[34].*; it is requested again after"
            ):
                refresh(WALLET, requested_by=asked_by, skip_cache=True)
        assert len(sandbox.requests(wallet_path(seeded))) == number
        advance(waits[-1] / 1000)
    assert 3_600_000 <= waits[0] < waits[1] < waits[2]
    sandbox.parts.faults.clear()
    assert refresh(WALLET).outcome == "updated"
    state = services.store.documents.state(seeded["character_id"], WALLET)
    assert state is not None
    assert (state.refusals, state.refused_until_ms, state.error) == (0, None, None)


@pytest.mark.parametrize(
    ("status", "body", "expected"), [(500, {"error": "oops"}, "ESI cannot answer"), (200, None, "cannot be used for")]
)
def test_a_lasting_failure_is_not_called_a_refusal(
    refresh: Refresh, sandbox: SandboxServer, advance: Advance, status: int, body: Any, expected: str
) -> None:
    sandbox.fail("/characters/*/wallet", status, times=20, body=body)
    for _ in range(3):
        with pytest.raises(EsiUnavailable):
            refresh(WALLET)
        advance(3600)
    for match in (f"{expected} {re.escape(WALLET)}", "^nothing was sent for"):
        with pytest.raises(PermanentError, match=match) as caught:
            refresh(WALLET)
        assert "refuse" not in str(caught.value)


def test_a_new_login_asks_again_for_what_was_refused(
    services: Services, seeded: dict[str, Any], refresh: Refresh, sandbox: SandboxServer
) -> None:
    sandbox.fail("/characters/*/wallet", 403, body={"error": "Forbidden"})
    with pytest.raises(PermanentError):
        refresh(WALLET)
    login = services.store.logins.get(seeded["character_id"])
    assert login is not None
    services.store.logins.save(**(seeded | {"refresh_token": login.refresh_token}))
    assert refresh(WALLET).outcome == "updated"


def test_a_500_that_lasts_is_remembered_like_a_refusal(
    services: Services, seeded: dict[str, Any], refresh: Refresh, sandbox: SandboxServer
) -> None:
    sandbox.fail("/characters/*/wallet", 500, times=20, body={"error": "Unhandled internal error encountered!"})
    waits = []
    for _ in range(3):
        with pytest.raises(EsiUnavailable) as caught:
            refresh(WALLET)
        waits.append(caught.value.retry_after_seconds)
    assert waits == [10, 20, 40]
    with pytest.raises(PermanentError, match="cannot answer"):
        refresh(WALLET)
    with pytest.raises(PermanentError, match="nothing was sent"):
        refresh(WALLET)
    assert len(sandbox.requests(wallet_path(seeded))) == 4


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, ""), (200, {"error": "Timeout"}), (200, "<html>"), (200, {"broken": True}), (204, None)],
    ids=str,
)
def test_a_useless_body_replaces_nothing_and_its_etag_is_not_believed(
    services: Services,
    seeded: dict[str, Any],
    refresh: Refresh,
    sandbox: SandboxServer,
    advance: Advance,
    status: int,
    body: Any,
) -> None:
    for route in (WALLET, JOURNAL, "/characters/{character_id}/wallet/transactions"):
        refresh(route)
        before = services.store.documents.body(seeded["character_id"], route)
        state = services.store.documents.state(seeded["character_id"], route)
        assert state is not None
        advance(7_200)
        sandbox.fail(route.replace("{character_id}", "*"), status, body=body)
        with pytest.raises(EsiUnavailable):
            refresh(route)
        after = services.store.documents.state(seeded["character_id"], route)
        assert after is not None
        assert (after.etag, after.synced_ms, after.failures) == (state.etag, state.synced_ms, 1)
        assert services.store.documents.body(seeded["character_id"], route) == before
        assert refresh(route).sent


@pytest.mark.parametrize(("status", "headers"), [(420, {}), (429, {}), (503, {}), (503, {"Retry-After": "30"})])
def test_limits_and_downtime_are_not_the_routes_failures(
    services: Services,
    seeded: dict[str, Any],
    refresh: Refresh,
    sandbox: SandboxServer,
    status: int,
    headers: dict[str, str],
) -> None:
    sandbox.fail("/characters/*/wallet", status, headers=headers, times=20)
    for _ in range(5):
        with pytest.raises(EsiError):
            refresh(WALLET)
    assert len(sandbox.requests(wallet_path(seeded))) == 1
    state = services.store.documents.state(seeded["character_id"], WALLET)
    assert state is not None
    assert (state.failures, state.refusals) == (0, 0)
    assert str(status) in (state.error or "")


@pytest.mark.parametrize(
    "body", [{"error": "unexpected end of JSON input", "sso_status": 401}, {"error": "token expiry is too far"}]
)
def test_a_403_that_hides_a_failure_of_sso_refreshes_once_and_then_stops_all_requests_with_a_token(
    seeded: dict[str, Any], refresh: Refresh, sandbox: SandboxServer, advance: Advance, body: dict[str, Any]
) -> None:
    refresh(ATTRIBUTES)
    sandbox.fail("/characters/*/wallet", 403, times=2, body=body)
    with pytest.raises(EsiUnavailable):
        refresh(WALLET)
    assert len(sandbox.requests("/v2/oauth/token")) == 2
    for route in (WALLET, LOCATION):
        with pytest.raises(NotSent, match="tokens"):
            refresh(route)
    refresh("/characters/{character_id}")
    assert len(sandbox.requests(wallet_path(seeded))) == 2
    advance(10)
    assert refresh(LOCATION).outcome == refresh(WALLET).outcome == "updated"


def wallet_path(seeded: dict[str, Any]) -> str:
    return f"/characters/{seeded['character_id']}/wallet"


def test_a_cache_that_is_down_does_not_fail_the_job(services: Services, refresh: Refresh, app: App) -> None:
    with redis.Redis(port=1, socket_connect_timeout=1, retry=None) as nobody:
        without_cache = replace(services, cache=type(services.cache)(nobody, clock=services.clock))
        assert refresh(WALLET, with_=without_cache).outcome == "updated"


def test_a_refused_access_token_is_replaced_once(
    services: Services, seeded: dict[str, Any], refresh: Refresh, sandbox: SandboxServer
) -> None:
    refresh(ATTRIBUTES)
    sandbox.fail("/characters/*/wallet", 401)
    assert refresh(WALLET).outcome == "updated"
    assert len(sandbox.requests("/v2/oauth/token")) == 2
    sandbox.fail("/characters/*/location", 401, times=20)
    with pytest.raises(EsiUnavailable, match="401"):
        refresh(LOCATION)
    assert len(sandbox.requests("/v2/oauth/token")) == 3
    # ESI rejects fresh tokens: the character's other jobs would only meet the same.
    for route in (LOCATION, "/characters/{character_id}/ship"):
        with pytest.raises(NotSent, match="character:"):
            refresh(route)


def test_the_call_normalizes_the_endpoint_and_takes_its_priority_from_the_requester(app: App) -> None:
    by_user = refresh_esi_data(90000001, 7, "/v1/characters/90000001/wallet/", skip_cache=True, requested_by="user")
    assert (by_user.queue, by_user.priority) == ("esi-refresh", 2)
    job = queues.get_queue("esi-refresh").get(by_user.id)
    assert job is not None
    assert (job.data["endpoint"], job.data["skip_cache"], job.requested_by) == (WALLET, True, "user")
    assert refresh_esi_data(90000001, 7, WALLET).priority == 3
    assert refresh_esi_data(90000001, 7, WALLET, requested_by="user", priority="LOW").priority == 4


def test_the_call_for_a_group_adds_one_job_per_route(app: App) -> None:
    added = refresh_character_data(90000001, 7, ["CHARACTER_WALLET", "CHARACTER_SKILLS"], requested_by="user")
    expected = {route.name for group in ("CHARACTER_WALLET", "CHARACTER_SKILLS") for route in GROUPS[group]}
    jobs = [queues.get_queue("esi-refresh").get(each.id) for each in added]
    assert {job.data["endpoint"] for job in jobs if job} == expected
    assert len(added) == len(expected)


def test_an_unknown_group_is_refused_with_the_nearest_and_nothing_is_added(app: App) -> None:
    with pytest.raises(BadInput, match="did you mean CHARACTER_WALLET") as caught:
        refresh_character_data(90000001, 7, ["CHARACTER_SKILLS", "CHARACTER_WALET"])
    assert set(caught.value.accepted) == set(GROUPS)
    assert queues.get_queue("esi-refresh").counts()["waiting"] == 0


@pytest.mark.parametrize("group", [["CHARACTER_SKILLS"], None, 7, "x" * 70_000])
def test_any_value_that_is_no_group_is_refused_with_a_short_message(app: App, group: Any) -> None:
    with pytest.raises(BadInput, match="unknown endpoint group") as caught:
        refresh_character_data(90000001, 7, [group])
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("/characters/{character_id}/walet", "did you mean /characters/{character_id}/wallet".replace("{", r"\{")),
        ("/latest/characters/5/wallet/", "endpoint is of character 5"),
        ("/characters/{character_id}/walet" + "x" * 450, "unknown endpoint .{450,600} \\(allowed: /characters"),
    ],
)
def test_a_wrong_endpoint_is_refused_with_a_suggestion(app: App, endpoint: str, message: str) -> None:
    with pytest.raises(BadPayload, match=message):
        refresh_esi_data(90000001, 7, endpoint)
    assert queues.get_queue("esi-refresh").counts()["waiting"] == 0
