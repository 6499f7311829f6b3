"""Error responses are classified as down, limited or refused, and no error contains a token."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
import redis

from nomad_actors.esi import ROUTES, EsiClient, EsiError, EsiRefused, EsiUnavailable, NotSent, Tokens, TokenUnchecked
from nomad_actors.esi.limits import Limiter
from nomad_actors.esi.response import retry_after_seconds
from nomad_actors.processes.local_redis import free_port
from sandbox.serve import SandboxServer

from .conftest import Reply, Scripted

WALLET = ROUTES["/characters/{character_id}/wallet"]
PATH = "/characters/7/wallet"
HTML = b"<html><head><title>Just a moment</title></head></html>"
TOKEN = "eyJ0.a-token-that-nobody-may-see.c2ln"
REQUEST_ID = {"X-ESI-Request-ID": "2f6c"}


def request_error(esi: EsiClient, *, etag: str | None = None) -> EsiError:
    with pytest.raises(EsiError) as caught:
        esi.get(WALLET, character_id=7, access_token=TOKEN, etag=etag)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    return caught.value


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_contains_esis_message_and_request_id(
    scripted_esi: EsiClient, scripted: Scripted, status: int
) -> None:
    scripted.reply_with(PATH, Reply(status, {"error": "Character does not have required role(s)"}, REQUEST_ID))
    error = request_error(scripted_esi)
    assert type(error) is EsiRefused
    assert (error.status, error.request_id) == (status, "2f6c")
    assert str(error) == (
        f"ESI answered {status} for /characters/{{character_id}}/wallet: Character does not have required role(s) "
        "(request 2f6c)"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"error": "Forbidden", "sso_status": 200},
        {"error": "unexpected end of JSON input"},
        {"error": "SSO responded with a 502: Bad Gateway"},
        {"error": "token expiry is too far in the future"},
    ],
)
def test_an_sso_failure_in_a_403_is_not_a_refusal(scripted_esi: EsiClient, scripted: Scripted, body: Any) -> None:
    scripted.reply_with(PATH, Reply(403, body))
    assert type(request_error(scripted_esi)) is TokenUnchecked


@pytest.mark.parametrize("status", [403, 404, 500, 502])
def test_an_html_page_is_not_a_refusal(scripted_esi: EsiClient, scripted: Scripted, status: int) -> None:
    scripted.reply_with(PATH, Reply(status, HTML))
    assert type(request_error(scripted_esi)) is EsiUnavailable
    scripted.reply_with(PATH, Reply(status, b"down", {"Content-Type": "text/html; charset=utf-8"}))
    assert type(request_error(scripted_esi)) is EsiUnavailable


@pytest.mark.parametrize("status", [204, 500, 502, 503, 504, 520])
def test_esi_being_down_is_temporary(scripted_esi: EsiClient, scripted: Scripted, status: int) -> None:
    scripted.reply_with(
        PATH,
        Reply(status, {"error": "Timeout contacting tranquility"} if status != 204 else b"", REQUEST_ID),
    )
    error = request_error(scripted_esi)
    assert type(error) is EsiUnavailable
    assert (error.status, error.request_id) == (status, "2f6c")


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "17"}, 17),
        (429, {}, 60),
        (429, {"Retry-After": "Sun, 01 Nov 2026 12:02:00 GMT"}, 60),
        (420, {"X-ESI-Error-Limit-Remain": "0", "X-ESI-Error-Limit-Reset": "42"}, 42),
        (420, {}, 60),
        # A job must not sleep for longer than the brake that its response sets.
        (429, {"Retry-After": "999999"}, 3_600),
        (520, {"Retry-After": "999999"}, 3_600),
        (420, {"X-ESI-Error-Limit-Reset": "999999"}, 120),
        (420, {"Retry-After": "999999"}, 120),
        (500, {"Retry-After": "999999"}, 900),
        (503, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 900),
    ],
)
def test_a_limit_says_when_to_retry(
    scripted_esi: EsiClient,
    redis_client: redis.Redis,
    scripted: Scripted,
    status: int,
    headers: dict[str, str],
    seconds: int,
) -> None:
    for body in ({"error": "Error limited"}, HTML):
        scripted.reply_with(PATH, Reply(status, body, {"Date": "Sun, 01 Nov 2026 12:01:00 GMT", **headers}))
        error = request_error(scripted_esi)
        assert isinstance(error, EsiUnavailable)
        assert (error.status, error.retry_after_seconds) == (status, seconds)
        redis_client.flushall()


@pytest.mark.parametrize(("status", "seconds"), [(429, 60), (420, 60), (503, 5)])
def test_nothing_is_sent_while_a_limit_is_in_force(
    scripted_esi: EsiClient, scripted: Scripted, status: int, seconds: int
) -> None:
    scripted.reply_with(PATH, Reply(status, HTML))
    request_error(scripted_esi)
    for _ in range(20):
        with pytest.raises(NotSent) as caught:
            scripted_esi.get(WALLET, character_id=7, access_token=None)
        assert seconds <= caught.value.retry_after_seconds <= 2 * seconds
    assert len(scripted.received) == 1


@pytest.mark.parametrize(
    "response",
    [
        Reply(200, HTML),
        Reply(200, b""),
        *(Reply(200, body) for body in (None, "", True, [1], {"error": "Timeout"})),
        Reply(200, b'[{"id": 1}, {"i'),
        Reply(cut=True),
    ],
)
def test_an_invalid_response_is_temporary(scripted_esi: EsiClient, scripted: Scripted, response: Reply) -> None:
    scripted.reply_with(PATH, response)
    assert type(request_error(scripted_esi)) is EsiUnavailable


def test_a_truncated_response_is_temporary(scripted_esi: EsiClient, scripted: Scripted) -> None:
    scripted.reply_with(PATH, Reply(200, b"12", {"Content-Length": "2000"}))
    assert type(request_error(scripted_esi)) is EsiUnavailable


def test_a_closed_port_is_temporary_and_stops_all_requests(clock: Any, limiter: Limiter) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    esi = EsiClient(base_url=url, user_agent="a", clock=clock, limiter=limiter)
    error = request_error(esi)
    assert type(error) is EsiUnavailable
    assert [brake.name for brake in limiter.state().brakes] == ["esi"]
    assert (error.status, "NewConnectionError" in str(error)) == (None, True)


def test_an_unrequested_304_is_an_error(scripted_esi: EsiClient, scripted: Scripted) -> None:
    scripted.reply_with(PATH, Reply(304))
    assert type(request_error(scripted_esi)) is EsiUnavailable
    assert scripted_esi.get(WALLET, character_id=7, access_token=None, etag='"e"').not_modified


def test_a_token_in_esis_message_is_hidden(scripted_esi: EsiClient, scripted: Scripted) -> None:
    scripted.reply_with(PATH, Reply(401, {"error": f"token {TOKEN} is not valid"}))
    assert "token (token) is not valid" in str(request_error(scripted_esi))


@pytest.mark.parametrize("token", [f"{TOKEN}\nX-More: 1", f"{TOKEN}\r\n", f" {TOKEN}\n"])
def test_a_token_that_cannot_be_sent_is_hidden(scripted_esi: EsiClient, token: str) -> None:
    with pytest.raises(EsiUnavailable) as caught:
        scripted_esi.get(WALLET, character_id=7, access_token=token)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("body", [["a list"], "a text", None, {"details": 1}])
def test_an_error_body_of_any_shape_is_understood(scripted_esi: EsiClient, scripted: Scripted, body: Any) -> None:
    scripted.reply_with(PATH, Reply(404, body))
    assert type(request_error(scripted_esi)) is EsiRefused


def test_the_sandbox_rejects_a_missing_token_and_a_missing_scope(
    esi: EsiClient, tokens: Tokens, sandbox: SandboxServer
) -> None:
    with pytest.raises(EsiRefused) as caught:
        esi.get(WALLET, character_id=tokens.character_id, access_token=None)
    assert caught.value.status == 401
    assert caught.value.request_id
    other = sandbox.logins()[1]["character_id"]
    with pytest.raises(EsiRefused) as caught:
        esi.get(WALLET, character_id=other, access_token=tokens.access_token)
    assert caught.value.status == 403


def test_the_sandboxs_limiter_is_understood(esi: EsiClient, tokens: Tokens) -> None:
    route = ROUTES["/characters/{character_id}/notifications"]

    def request_often() -> None:
        for _ in range(20):
            esi.get(route, character_id=tokens.character_id, access_token=tokens.access_token)

    # Our own count stops before ESI's would: nothing is answered with a 429.
    with pytest.raises(NotSent) as caught:
        request_often()
    assert 0 < caught.value.retry_after_seconds <= 930


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120), (" 7 ", 7), ("Sun, 01 Nov 2026 12:02:00 GMT", 120), ("Sun, 01 Nov 2026 11:59:00 GMT", None)]
    + [(text, 900) for text in ("901", "9" * 20, "Fri, 31 Dec 9999 23:59:59 GMT")]
    + [(text, None) for text in ("", "-5", "1.5", "٣", "soon", "9" * 400)],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_seconds(503, {"Date": "Sun, 01 Nov 2026 12:00:00 GMT", "Retry-After": text}) == seconds
