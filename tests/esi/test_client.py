"""One request: what is sent, timeouts, and how long a response is fresh."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
import requests

from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES, Copy, EsiClient, EsiResponse, EsiUnavailable, NotSent, Route, Tokens, transport
from nomad_actors.esi.limits import Limiter
from nomad_actors.esi.response import SLACK_SECONDS, fresh_seconds
from nomad_actors.esi.transport import POOL_SIZE
from nomad_actors.metrics.definitions import ESI_REQUEST_SECONDS, ESI_REQUESTS
from nomad_actors.store.listing_pages import HeldListing
from sandbox.serve import SandboxServer
from tests.support.esi_rows import row_of

from .conftest import NOW_S, USER_AGENT, ReceivedRequest, Reply, Scripted

WALLET = ROUTES["/characters/{character_id}/wallet"]
SKILLS = ROUTES["/characters/{character_id}/skills"]
JOBS = ROUTES["/characters/{character_id}/industry/jobs"]
PUBLIC = ROUTES["/characters/{character_id}"]
PATH = "/characters/7/wallet"


def test_a_response_has_the_document_and_its_metadata(esi: EsiClient, tokens: Tokens) -> None:
    response = esi.get(WALLET, character_id=tokens.character_id, access_token=tokens.access_token)
    assert isinstance(response.body, Decimal)
    assert (response.status, response.not_modified, response.pages) == (200, False, 1)
    assert response.etag is not None
    assert response.last_modified == "Sun, 01 Nov 2026 12:00:00 GMT"
    assert response.request_id is not None
    assert response.fresh_until_ms == (NOW_S + 120 + SLACK_SECONDS) * 1000


def test_every_route_gets_a_response(esi: EsiClient, tokens: Tokens, held: Callable[[int, Route], HeldListing]) -> None:
    for route in ROUTES.values():
        listing = held(tokens.character_id, route)
        response = esi.get_all(
            route, character_id=tokens.character_id, access_token=tokens.access_token, copy=Copy(), held=listing
        )
        assert response.status == 200, route.name
        assert response.body is not None


def test_a_public_route_needs_no_token(esi: EsiClient, tokens: Tokens) -> None:
    assert esi.get(PUBLIC, character_id=tokens.character_id, access_token=None).body["name"] == tokens.name


def test_an_unchanged_document_is_a_304_that_renews_the_freshness(
    esi: EsiClient, tokens: Tokens, advance: Callable[[float], None]
) -> None:
    first = esi.get(SKILLS, character_id=tokens.character_id, access_token=tokens.access_token)
    advance(61)
    second = esi.get(SKILLS, character_id=tokens.character_id, access_token=tokens.access_token, etag=first.etag)
    assert (second.status, second.not_modified, second.body) == (304, True, None)
    assert second.fresh_until_ms == first.fresh_until_ms + 61_000


def test_a_request_has_user_agent_and_compatibility_date(scripted_esi: EsiClient, scripted: Scripted) -> None:
    scripted.reply_with("/characters/7/industry/jobs", Reply(body=[]))
    scripted_esi.get(JOBS, character_id=7, access_token="a token", etag='"an etag"', query={"more": "1"})
    [received] = scripted.received
    assert received.headers["User-Agent"] == USER_AGENT
    assert received.headers["X-Compatibility-Date"] == "2026-07-17"
    assert received.headers["Authorization"] == "Bearer a token"
    assert received.headers["If-None-Match"] == '"an etag"'
    assert received.query == {"include_completed": "true", "more": "1"}


def test_a_token_is_sent_neither_to_public_routes_nor_to_redirects(scripted_esi: EsiClient, scripted: Scripted) -> None:
    scripted.reply_with("/characters/7", Reply(body=row_of(PUBLIC.shape, 7)))
    scripted_esi.get(PUBLIC, character_id=7, access_token=None)
    assert "Authorization" not in scripted.received[0].headers
    scripted.reply_with(PATH, Reply(302, b"", {"Location": "/elsewhere"}))
    with pytest.raises(EsiUnavailable, match="302"):
        scripted_esi.get(WALLET, character_id=7, access_token="a token")
    assert [received.path for received in scripted.received] == ["/characters/7", PATH]


def test_no_cookie_is_sent_with_another_characters_request(scripted_esi: EsiClient, scripted: Scripted) -> None:
    scripted.reply_with(PATH, Reply(body=1.0, headers={"Set-Cookie": "session=of-7; Path=/"}))
    for _ in range(2):
        scripted_esi.get(WALLET, character_id=7, access_token="a token")
    assert "Cookie" not in scripted.received[1].headers


def test_the_environment_sends_no_token_elsewhere(
    monkeypatch: pytest.MonkeyPatch, esi: EsiClient, tokens: Tokens
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    assert esi.get(WALLET, character_id=tokens.character_id, access_token=tokens.access_token).status == 200


def test_many_threads_share_one_pool_of_connections(scripted_esi: EsiClient, scripted: Scripted) -> None:
    together = threading.Barrier(POOL_SIZE)

    def wait_for_all(received: ReceivedRequest) -> Reply:
        together.wait(timeout=10)
        return Reply(body=1.0)

    scripted.script[PATH] = wait_for_all
    statuses: list[int] = []

    def request(number: int) -> None:
        # For a user, who may use the whole concurrency; each route may take a quarter, and no group limits it.
        route = replace(WALLET, dataset=f"wallet{number % 4}", rate_group=None)
        statuses.append(scripted_esi.get(route, character_id=7, access_token=None, for_user=True).status)

    threads = [threading.Thread(target=request, args=(number,)) for number in range(POOL_SIZE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * POOL_SIZE


def test_a_silent_server_times_out(
    monkeypatch: pytest.MonkeyPatch, scripted: Scripted, clock: ManualClock, limiter: Limiter
) -> None:
    assert transport.TIMEOUTS_SECONDS == (5, 30)
    monkeypatch.setattr(transport, "TIMEOUTS_SECONDS", (5, 0.05))
    esi = EsiClient(base_url=scripted.base_url, user_agent="a", clock=clock, limiter=limiter)
    given_up = threading.Event()

    def wait(received: ReceivedRequest) -> Reply:
        given_up.wait(timeout=10)
        return Reply(cut=True)

    scripted.script[PATH] = wait
    with pytest.raises(EsiUnavailable, match="ReadTimeout"):
        esi.get(WALLET, character_id=7, access_token=None)
    given_up.set()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Cache-Control": "private, max-age=45", "Expires": "Sun, 01 Nov 2026 13:00:00 GMT"}, 45 + SLACK_SECONDS),
        ({"Cache-Control": "MAX-AGE=45"}, 45 + SLACK_SECONDS),
        ({"Cache-Control": "public, s-maxage=999, max-age=45"}, 45 + SLACK_SECONDS),
        ({"Cache-Control": "no-cache", "Expires": "Sun, 01 Nov 2026 13:00:00 GMT"}, WALLET.interval_seconds),
        (
            {"Expires": "Sun, 01 Nov 2026 12:02:00 GMT", "Date": "Sun, 01 Nov 2026 12:00:30 GMT"},
            90 + SLACK_SECONDS,
        ),
        # In the past, without `Date`, not a date, without a zone, out of range.
        (
            {"Expires": "Sun, 01 Nov 2026 12:00:00 GMT", "Date": "Sun, 01 Nov 2026 12:00:30 GMT"},
            120 + SLACK_SECONDS,
        ),
        ({"Expires": "Sun, 01 Nov 2026 12:02:00 GMT"}, 120 + SLACK_SECONDS),
        ({"Expires": "0", "Date": "Sun, 01 Nov 2026 12:00:30 GMT"}, 120 + SLACK_SECONDS),
        (
            {"Expires": "Sun, 01 Nov 2026 12:02:00 -0000", "Date": "Sun, 01 Nov 2026 12:00:30 GMT"},
            90 + SLACK_SECONDS,
        ),
        ({"Cache-Control": "max-age=" + "9" * 30}, 120 + SLACK_SECONDS),
        ({"Cache-Control": "max-age=999999999"}, 7 * 86_400 + SLACK_SECONDS),
        ({}, 120 + SLACK_SECONDS),
    ],
)
def test_freshness_is_cache_control_then_expires_then_the_routes_value(headers: dict[str, str], seconds: int) -> None:
    assert fresh_seconds(requests.structures.CaseInsensitiveDict(headers), WALLET) == seconds


def test_expires_is_ignored_on_event_based_routes(esi: EsiClient, tokens: Tokens, clock: ManualClock) -> None:
    response = esi.get(SKILLS, character_id=tokens.character_id, access_token=tokens.access_token)
    assert response.fresh_until_ms == clock.now_ms() + (60 + SLACK_SECONDS) * 1000


def test_requests_are_counted_by_group_and_status(esi: EsiClient, tokens: Tokens, sandbox: SandboxServer) -> None:
    def counted(status: str) -> float:
        return ESI_REQUESTS.labels("CHARACTER_WALLET", status)._value.get()

    seconds = ESI_REQUEST_SECONDS.labels("CHARACTER_WALLET")._sum
    before = {status: counted(status) for status in ("200", "502", "network")}, seconds.get()
    esi.get(WALLET, character_id=tokens.character_id, access_token=tokens.access_token)
    sandbox.fail("*/wallet", 502)
    with pytest.raises(EsiUnavailable, match="502"):
        esi.get(WALLET, character_id=tokens.character_id, access_token=tokens.access_token)
    sandbox.fail("*/wallet", drop=True)
    with pytest.raises(EsiUnavailable, match="did not answer"):
        esi.get(WALLET, character_id=tokens.character_id, access_token=tokens.access_token)
    assert {status: counted(status) - before[0][status] for status in before[0]} == {"200": 1, "502": 1, "network": 1}
    assert seconds.get() > before[1]


def test_probes_are_conditional_and_never_before_the_last_one_expires(
    esi: EsiClient, tokens: Tokens, sandbox: SandboxServer, advance: Callable[[float], None]
) -> None:
    def get(route: Route) -> EsiResponse:
        return esi.get(route, character_id=tokens.character_id, access_token=tokens.access_token)

    for route, path in ((WALLET, "*/wallet"), (SKILLS, "*/skills")):
        sandbox.fail(path, 503)
        with pytest.raises(EsiUnavailable, match="503"):
            get(route)
        advance(10)
        if route is SKILLS:
            with pytest.raises(NotSent, match="still fresh"):
                get(route)
            advance(30)
        assert get(route).status == 200
    assert [request.status for request in sandbox.requests("/status")] == [200, 304]
    assert sandbox.conduct()["reasons"] == []
