"""A login is never lost: one refresh at a time, saved before use, marked dead only after repeats, never deleted."""

from __future__ import annotations

import contextlib
import ctypes
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from nomad_actors import thresholds
from nomad_actors.broker import PermanentError
from nomad_actors.clock import ManualClock
from nomad_actors.errors import Unavailable
from nomad_actors.esi import NotSent, SsoMisconfigured, SsoUnavailable
from nomad_actors.esi.limits.brakes import sso_down
from nomad_actors.esi.limits.limiter import SSO_HOLD_MS
from nomad_actors.esi.signing_keys import KEYS_TIMEOUTS_SECONDS
from nomad_actors.esi.transport import TIMEOUTS_SECONDS
from nomad_actors.esi.unsaved_tokens import UnsavedTokens
from nomad_actors.jobs.services import Services
from nomad_actors.jobs.token_keeper import (
    FLIGHT_SECONDS,
    MAX_SAVE_SECONDS,
    STRIKE_GAP_MS,
    STRIKE_PAUSE_MS,
    LoginInDoubt,
    RefreshBusy,
    TokenKeeper,
    uninterrupted,
)
from nomad_actors.store import ACTIVE, NEEDS_LOGIN, Login
from nomad_actors.store.cipher import TokenCipher
from sandbox.serve import SandboxServer

LoginOf = Callable[[int], Login]
Advance = Callable[[float], None]
#: SSO's path for refreshes.
TOKEN_PATH = "/v2/oauth/token"
DEAD = {"user_id": 1, "name": "n", "owner_hash": "o", "scopes": [], "refresh_token": "no such token"}


def test_a_login_without_access_token_is_refreshed_and_the_rotated_token_is_stored(
    services: Services, seeded: dict[str, Any], login_of: LoginOf, clock: ManualClock
) -> None:
    token = TokenKeeper(services).get_token(seeded["character_id"])
    stored = login_of(seeded["character_id"])
    assert token.refreshed
    # One write for the rotated refresh token, before its access token is validated, and one for that.
    assert (stored.version, stored.access_token) == (3, token.access_token)
    assert stored.refresh_token != seeded["refresh_token"]
    assert stored.access_expires_ms is not None
    assert 1_100_000 < stored.access_expires_ms - clock.now_ms() <= 1_200_000
    assert stored.scopes == frozenset(seeded["scopes"])


def test_a_valid_token_is_reused_until_it_is_about_to_expire(
    services: Services, seeded: dict[str, Any], advance: Advance, sandbox: SandboxServer
) -> None:
    keeper = TokenKeeper(services)
    first = keeper.get_token(seeded["character_id"])
    advance(900)
    unchanged = keeper.get_token(seeded["character_id"])
    assert (unchanged.refreshed, unchanged.access_token) == (False, first.access_token)
    assert len(sandbox.requests(TOKEN_PATH)) == 1
    advance(200)
    assert keeper.get_token(seeded["character_id"]).refreshed


def test_parallel_requests_for_one_login_share_one_flight(
    services: Services, seeded: dict[str, Any], login_of: LoginOf, sandbox: SandboxServer
) -> None:
    sandbox.fail(TOKEN_PATH, delay_ms=200)
    tokens: list[str] = []

    def want() -> None:
        tokens.append(TokenKeeper(services).get_token(seeded["character_id"]).access_token)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert len(set(tokens)) == 1
    assert login_of(seeded["character_id"]).version == 3
    assert len(sandbox.requests(TOKEN_PATH)) == 1


def test_a_token_that_esi_refused_is_replaced(services: Services, seeded: dict[str, Any]) -> None:
    keeper = TokenKeeper(services)
    first = keeper.get_token(seeded["character_id"])
    second = keeper.get_token(seeded["character_id"], other_than=first.access_token)
    assert second.refreshed
    assert keeper.get_token(seeded["character_id"], other_than=first.access_token).access_token == second.access_token


def test_the_first_strike_pauses_refreshes_and_keeps_the_login(
    services: Services, advance: Advance, login_of: LoginOf, sandbox: SandboxServer
) -> None:
    services.store.logins.save(character_id=5, **DEAD)
    with pytest.raises(LoginInDoubt, match="asked again after 60 s"):
        TokenKeeper(services).get_token(5)
    struck = login_of(5)
    assert (struck.state, struck.strikes, struck.refresh_token) == (ACTIVE, 1, "no such token")
    advance(20)
    with pytest.raises(LoginInDoubt, match="asked again after 40 s") as caught:
        TokenKeeper(services).get_token(5)
    assert caught.value.retry_after_seconds == 40
    assert login_of(5).strikes == len(sandbox.requests(TOKEN_PATH)) == 1
    advance(STRIKE_PAUSE_MS / 1000 - 20)
    with pytest.raises(LoginInDoubt, match="asked again after 120 s"):
        TokenKeeper(services).get_token(5)
    assert (login_of(5).state, login_of(5).strikes) == (ACTIVE, 2)


def test_a_login_rejected_again_after_ten_minutes_needs_the_player_and_stays_stored(
    services: Services, advance: Advance, login_of: LoginOf
) -> None:
    services.store.logins.save(character_id=5, **DEAD)
    with pytest.raises(LoginInDoubt):
        TokenKeeper(services).get_token(5)
    advance(STRIKE_GAP_MS / 1000)
    with pytest.raises(PermanentError, match="must log in again"):
        TokenKeeper(services).get_token(5)
    condemned = login_of(5)
    assert (condemned.state, condemned.refresh_token) == (NEEDS_LOGIN, "no such token")
    assert condemned.state_reason
    with pytest.raises(PermanentError, match="must log in again"):
        TokenKeeper(services).get_token(5)


def test_while_many_logins_are_rejected_none_is_marked_dead_for_a_day(
    services: Services, advance: Advance, login_of: LoginOf
) -> None:
    keeper, characters = TokenKeeper(services), range(1, thresholds.ESI.rejected_logins + 3)
    for character_id in characters:
        services.store.logins.save(character_id=character_id, **DEAD)
        with pytest.raises(LoginInDoubt):
            keeper.get_token(character_id)
    for _ in range(23):
        advance(3_600)
        for character_id in characters:
            with pytest.raises(LoginInDoubt):
                keeper.get_token(character_id)
    assert services.store.logins.characters(NEEDS_LOGIN) == []
    # What SSO has said for a whole day is no fault of an hour.
    advance(3_601)
    for character_id in characters:
        with pytest.raises(PermanentError, match="must log in again"):
            keeper.get_token(character_id)


def test_an_invalid_client_secret_changes_no_login(
    misconfigured: Services, seeded: dict[str, Any], login_of: LoginOf
) -> None:
    for expected in (SsoMisconfigured, NotSent):
        with pytest.raises(expected, match="EVE_CLIENT_ID"):
            TokenKeeper(misconfigured).get_token(seeded["character_id"])
    login = login_of(seeded["character_id"])
    assert (login.state, login.strikes, login.version) == (ACTIVE, 0, 1)
    assert login.refresh_token == seeded["refresh_token"]


def test_while_sso_is_down_one_login_at_a_time_asks_whether_it_is_back(
    services: Services, seeded: dict[str, Any], login_of: LoginOf, sandbox: SandboxServer, advance: Advance
) -> None:
    sandbox.fail(TOKEN_PATH, drop=True, times=10)
    with pytest.raises(SsoUnavailable):
        TokenKeeper(services).get_token(seeded["character_id"])
    for _ in range(5):
        with pytest.raises(NotSent):
            TokenKeeper(services).get_token(seeded["character_id"])
    assert len(sandbox.requests(TOKEN_PATH)) == 1
    sandbox.parts.faults.clear()
    assert login_of(seeded["character_id"]).strikes == 0
    advance(5)
    assert TokenKeeper(services).get_token(seeded["character_id"]).refreshed


def test_an_unexpected_response_of_sso_is_no_strike(
    services: Services, seeded: dict[str, Any], login_of: LoginOf, sandbox: SandboxServer, advance: Advance
) -> None:
    sandbox.fail(TOKEN_PATH, 400, body={"error": "invalid_request", "error_description": "something new"})
    with pytest.raises(SsoUnavailable):
        TokenKeeper(services).get_token(seeded["character_id"])
    advance(5)
    sandbox.fail(TOKEN_PATH, 502, body="<html>Bad Gateway</html>")
    with pytest.raises(SsoUnavailable):
        TokenKeeper(services).get_token(seeded["character_id"])
    assert login_of(seeded["character_id"]).strikes == 0
    advance(10)
    assert TokenKeeper(services).get_token(seeded["character_id"]).refreshed


def test_a_sold_character_needs_its_new_owner(
    services: Services, seeded: dict[str, Any], login_of: LoginOf, advance: Advance
) -> None:
    services.store.logins.save(**(seeded | {"owner_hash": "the owner before"}))
    with pytest.raises(LoginInDoubt):
        TokenKeeper(services).get_token(seeded["character_id"])
    # The rotated token is saved, but nothing that could read the new owner's data.
    doubted = login_of(seeded["character_id"])
    assert (doubted.state, doubted.access_token) == (ACTIVE, None)
    assert doubted.refresh_token != seeded["refresh_token"]
    advance(STRIKE_GAP_MS / 1000)
    with pytest.raises(PermanentError, match="new owner"):
        TokenKeeper(services).get_token(seeded["character_id"])
    assert login_of(seeded["character_id"]).state == NEEDS_LOGIN


@pytest.mark.parametrize(
    "kind",
    ["no-owner", "iss-wrong", "unknown-kid", "exp-past", "exp-text", "hs256", "aud-other", "aud-text"],
)
def test_a_rotated_token_is_kept_whatever_the_check_of_its_access_token_says(
    services: Services, seeded: dict[str, Any], login_of: LoginOf, sandbox: SandboxServer, advance: Advance, kind: str
) -> None:
    sandbox.fail(TOKEN_PATH, kind=f"token-{kind}")
    try:
        TokenKeeper(services).get_token(seeded["character_id"])
    except (SsoUnavailable, SsoMisconfigured):
        if kind != "exp-past":  # It may be this host's clock, which is not the fleet's.
            with pytest.raises(NotSent):
                TokenKeeper(services).get_token(seeded["character_id"])
    login = login_of(seeded["character_id"])
    assert (login.state, login.strikes) == (ACTIVE, 0)
    assert login.refresh_token == sandbox.logins()[0]["refresh_token"] != seeded["refresh_token"]
    advance(1_200)
    assert TokenKeeper(services).get_token(seeded["character_id"]).refreshed


def test_a_response_for_another_character_is_ssos_fault_and_loses_no_token(
    services: Services, seeded: dict[str, Any], login_of: LoginOf, sandbox: SandboxServer, advance: Advance
) -> None:
    sandbox.fail(TOKEN_PATH, kind="token-sub-other")
    with pytest.raises(SsoUnavailable, match="answered for character"):
        TokenKeeper(services).get_token(seeded["character_id"])
    # Nobody knows whose the new token is, so it does not replace the login's own.
    doubted = login_of(seeded["character_id"])
    assert (doubted.state, doubted.strikes, doubted.refresh_token) == (ACTIVE, 0, seeded["refresh_token"])
    with pytest.raises(NotSent, match="answered for character"):
        TokenKeeper(services).get_token(seeded["character_id"])
    advance(5)
    # It was this character's: SSO's tokens are for one use.
    assert TokenKeeper(services).get_token(seeded["character_id"]).refreshed
    assert login_of(seeded["character_id"]).refresh_token == sandbox.logins()[0]["refresh_token"]
    assert sandbox.conduct()["violations"] == []


@pytest.mark.parametrize("is_dead", [False, True], ids=["another character's", "dead"])
def test_a_token_of_another_character_never_replaces_the_right_one(
    services: Services,
    seeded: dict[str, Any],
    login_of: LoginOf,
    sandbox: SandboxServer,
    advance: Advance,
    is_dead: bool,
) -> None:
    # What SSO sends belongs to another character, or to nobody; the login's own token is still good.
    other = sandbox.logins()[1]
    aside = services.store.logins.seal(seeded["character_id"], "no such token" if is_dead else other["refresh_token"])
    keeper = TokenKeeper(services)
    keeper._doubtful.put(seeded["character_id"], seeded["refresh_token"], aside)
    if not is_dead:
        with pytest.raises(SsoUnavailable, match="answered for character"):
            keeper.get_token(seeded["character_id"])
        assert login_of(seeded["character_id"]).refresh_token == seeded["refresh_token"]
        advance(5)
    assert keeper.get_token(seeded["character_id"]).refreshed
    assert login_of(seeded["character_id"]).refresh_token == sandbox.logins()[0]["refresh_token"]
    assert login_of(seeded["character_id"]).strikes == 0


@pytest.mark.parametrize("name", ["unsaved", "doubtful"])
def test_a_newer_token_whose_key_was_removed_is_skipped_with_one_warning(
    services: Services,
    seeded: dict[str, Any],
    login_of: LoginOf,
    advance: Advance,
    caplog: pytest.LogCaptureFixture,
    name: Any,
) -> None:
    removed = TokenCipher(["b" * 64])
    sealed = removed.encrypt("a newer token", character_id=seeded["character_id"], kind="refresh")
    kept = UnsavedTokens(services.limiter.client, name)
    kept.put(seeded["character_id"], seeded["refresh_token"], sealed)
    for _ in range(2):
        assert TokenKeeper(services).get_token(seeded["character_id"]).refreshed
        advance(1_200)
    warnings = [record for record in caplog.records if "a newer refresh token is not used" in record.getMessage()]
    assert len(warnings) == 1
    assert login_of(seeded["character_id"]).strikes == 0
    assert kept.get(seeded["character_id"], seeded["refresh_token"]) is None


def test_a_token_kept_for_a_login_that_was_removed_is_not_used_for_its_successor(
    services: Services, seeded: dict[str, Any], login_of: LoginOf, sandbox: SandboxServer
) -> None:
    # The successor has the same character and the same version, but another refresh token.
    sealed = services.store.logins.seal(seeded["character_id"], "the new token of the removed login")
    services.unsaved_tokens.put(seeded["character_id"], "the old token of the removed login", sealed)
    assert login_of(seeded["character_id"]).version == 1
    assert TokenKeeper(services).get_token(seeded["character_id"]).refreshed
    assert login_of(seeded["character_id"]).refresh_token == sandbox.logins()[0]["refresh_token"]


def test_a_job_that_meets_ssos_brake_takes_no_flight_and_writes_nothing(
    services: Services, seeded: dict[str, Any]
) -> None:
    services.limiter.brake(sso_down("SSO is down", retry_after_seconds=None))
    path = services.store.database.url.database
    with contextlib.closing(sqlite3.connect(str(path))) as watcher:
        before = watcher.execute("PRAGMA data_version").fetchone()
        for _ in range(5):
            with pytest.raises(NotSent, match="SSO is down"):
                TokenKeeper(services).get_token(seeded["character_id"])
        assert watcher.execute("PRAGMA data_version").fetchone() == before


def test_a_slow_sso_does_not_outlive_the_flight() -> None:
    # Keys before and after the request, each behind another thread's; the request; two saves.
    slowest = 4 * sum(KEYS_TIMEOUTS_SECONDS) + sum(TIMEOUTS_SECONDS) + 2 * MAX_SAVE_SECONDS
    assert slowest < FLIGHT_SECONDS
    assert SSO_HOLD_MS >= 1000 * FLIGHT_SECONDS


def test_a_database_that_is_away_after_ssos_response_loses_no_token(
    services: Services,
    seeded: dict[str, Any],
    login_of: LoginOf,
    sandbox: SandboxServer,
    advance: Advance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nomad_actors.jobs.token_keeper.MAX_SAVE_SECONDS", 0.1)
    logins = services.store.logins

    def unavailable(*_: object, **__: object) -> None:
        raise Unavailable("the database does not answer")

    with monkeypatch.context() as away:
        away.setattr(type(logins), "save_rotated", unavailable)
        with pytest.raises(Unavailable):
            TokenKeeper(services).get_token(seeded["character_id"])
    assert login_of(seeded["character_id"]).refresh_token == seeded["refresh_token"]
    assert TokenKeeper(services).get_token(seeded["character_id"]).refreshed
    assert login_of(seeded["character_id"]).refresh_token == sandbox.logins()[0]["refresh_token"]
    assert login_of(seeded["character_id"]).strikes == 0


def test_a_token_is_kept_in_redis_although_redis_was_away_at_first(
    services: Services,
    seeded: dict[str, Any],
    login_of: LoginOf,
    sandbox: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nomad_actors.jobs.token_keeper.MAX_SAVE_SECONDS", 0.1)
    unsaved, attempts = services.unsaved_tokens, []

    def unavailable(*_: object, **__: object) -> None:
        attempts.append(1)
        raise Unavailable("the database does not answer")

    real_put = type(unsaved).put

    def put(self: UnsavedTokens, character_id: int, replaced: str, sealed: str) -> None:
        # Redis comes back between the first attempt and the second.
        if attempts:
            real_put(self, character_id, replaced, sealed)

    with monkeypatch.context() as away:
        away.setattr(type(services.store.logins), "save_rotated", unavailable)
        away.setattr(type(unsaved), "put", put)
        with pytest.raises(Unavailable):
            TokenKeeper(services).get_token(seeded["character_id"])
    assert len(attempts) == 2
    assert TokenKeeper(services).get_token(seeded["character_id"]).refreshed
    assert login_of(seeded["character_id"]).refresh_token == sandbox.logins()[0]["refresh_token"]
    assert not [each for each in sandbox.conduct()["reasons"] if each["reason"] == "rotated-token"]


def test_a_character_that_never_logged_in_fails_at_once(services: Services) -> None:
    with pytest.raises(PermanentError, match="character 12 never logged in"):
        TokenKeeper(services).get_token(12)


def test_waiting_too_long_for_another_flight_raises_an_error(
    services: Services, seeded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomad_actors.jobs.token_keeper.MAX_WAIT_SECONDS", 0.2)
    assert services.store.logins.take_flight(seeded["character_id"], 1, flight="another host's", seconds=FLIGHT_SECONDS)
    with pytest.raises(RefreshBusy) as caught:
        TokenKeeper(services).get_token(seeded["character_id"])
    assert 1 <= caught.value.retry_after_seconds <= FLIGHT_SECONDS


def test_a_flight_whose_process_died_is_taken_over(
    services: Services, seeded: dict[str, Any], advance: Advance
) -> None:
    take = services.store.logins.take_flight
    assert take(seeded["character_id"], 1, flight="a dead process's", seconds=FLIGHT_SECONDS)
    advance(FLIGHT_SECONDS + 1)
    assert TokenKeeper(services).get_token(seeded["character_id"]).refreshed


class _Interrupt(BaseException):
    pass


def test_an_interrupt_does_not_stop_a_started_call() -> None:
    begun, resume, done = threading.Event(), threading.Event(), threading.Event()
    ended: list[str] = []

    def save() -> None:
        begun.set()
        resume.wait(10)
        done.set()

    def job() -> None:
        try:
            uninterrupted(save)
        except _Interrupt:
            ended.append("interrupted")

    thread = threading.Thread(target=job)
    thread.start()
    assert begun.wait(10)
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_long(thread.ident), ctypes.py_object(_Interrupt))
    thread.join(10)
    assert ended == ["interrupted"]
    assert not done.is_set()
    resume.set()
    assert done.wait(10)


def test_an_error_of_an_uninterrupted_call_reaches_the_job_even_a_timeout() -> None:
    def fail() -> None:
        time.sleep(0)
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        uninterrupted(fail)
