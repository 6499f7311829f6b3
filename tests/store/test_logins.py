"""Only a writer with the latest version changes a login, and no login is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.store import ACTIVE, NEEDS_LOGIN, LoginChanged, Store

CHARACTER = 90000001


def _refreshed(store: Store, version: int, token: str = "rotated") -> None:
    store.logins.save_refreshed(
        CHARACTER,
        version,
        refresh_token=token,
        access_token="access",
        expires_at_ms=5_000,
        scopes=["a scope"],
    )


def test_a_saved_login_is_returned_with_its_tokens(store: Store, save_login: Callable[..., None]) -> None:
    save_login(CHARACTER, access_token="first access token", expires_at_ms=1_000)
    login = store.logins.get(CHARACTER)
    assert login is not None
    assert (login.refresh_token, login.access_token) == ("first refresh token", "first access token")
    assert (login.user_id, login.name, login.state, login.access_expires_ms) == (7, "Ada Voss", ACTIVE, 1_000)
    assert "token" not in repr(login).replace("refresh_token", "").replace("access_token", "")


def test_a_character_that_never_logged_in_has_no_login(store: Store) -> None:
    assert store.logins.get(1) is None


def test_tokens_are_stored_encrypted(store: Store, save_login: Callable[..., None]) -> None:
    save_login(CHARACTER, access_token="first access token")
    with store.database.read() as connection:
        row = connection.execute(sa.text("SELECT refresh_token, access_token FROM logins")).one()
    assert row.refresh_token.startswith("v1.")
    assert row.access_token.startswith("v1.")


def test_a_refresh_is_saved_only_from_the_latest_version(store: Store, save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)
    _refreshed(store, 1)
    login = store.logins.get(CHARACTER)
    assert login is not None
    assert (login.refresh_token, login.version, login.scopes) == ("rotated", 2, frozenset(["a scope"]))


def test_a_late_refresh_does_not_overwrite_a_newer_login(store: Store, save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)
    save_login(CHARACTER, refresh_token="the player logged in again")
    with pytest.raises(LoginChanged):
        _refreshed(store, 1)
    login = store.logins.get(CHARACTER)
    assert login is not None
    assert login.refresh_token == "the player logged in again"


def test_only_one_flight_at_a_time_until_it_ends_or_expires(
    store: Store, save_login: Callable[..., None], clock: ManualClock
) -> None:
    save_login(CHARACTER)
    assert store.logins.take_flight(CHARACTER, 1, flight="a", seconds=60)
    assert not store.logins.take_flight(CHARACTER, 1, flight="b", seconds=60)
    store.logins.end_flight(CHARACTER, flight="b")
    assert not store.logins.take_flight(CHARACTER, 1, flight="b", seconds=60)
    store.logins.end_flight(CHARACTER, flight="a")
    assert store.logins.take_flight(CHARACTER, 1, flight="b", seconds=60)
    clock.advance(seconds=61)
    assert store.logins.take_flight(CHARACTER, 1, flight="c", seconds=60)


def test_no_flight_starts_from_an_old_version(store: Store, save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)
    _refreshed(store, 1)
    assert not store.logins.take_flight(CHARACTER, 1, flight="a", seconds=60)
    assert store.logins.take_flight(CHARACTER, 2, flight="a", seconds=60)


def test_strikes_are_counted_and_reset_by_a_refresh(
    store: Store, save_login: Callable[..., None], clock: ManualClock
) -> None:
    save_login(CHARACTER)
    assert store.logins.strike(CHARACTER, 1)
    first_ms = clock.now_ms()
    clock.advance(seconds=600)
    assert store.logins.strike(CHARACTER, 1)
    struck = store.logins.characters()[0]
    assert (struck.strikes, struck.first_strike_ms) == (2, first_ms)
    assert struck.last_strike_ms == first_ms + 600_000
    _refreshed(store, 1)
    assert store.logins.characters()[0].strikes == 0
    assert not store.logins.strike(CHARACTER, 1)
    assert store.logins.characters()[0].strikes == 0


def test_logins_count_as_rejected_from_their_first_strike_on(
    store: Store, save_login: Callable[..., None], clock: ManualClock
) -> None:
    save_login(CHARACTER)
    assert store.logins.count_rejected() == 0
    for _ in range(3):
        assert store.logins.strike(CHARACTER, 1)
        clock.advance(seconds=600)
    assert store.logins.require_login(CHARACTER, 1, reason="dead")
    assert store.logins.count_rejected() == 1
    clock.advance(seconds=86_400 - 1_800)
    assert store.logins.count_rejected() == 1
    clock.advance(seconds=1)
    assert store.logins.count_rejected() == 0
    clock.advance(seconds=-1)
    save_login(CHARACTER, refresh_token="new")
    assert store.logins.count_rejected() == 0


def test_a_rotated_token_is_saved_once_and_keeps_the_strikes(store: Store, save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)
    store.logins.strike(CHARACTER, 1)
    sealed = store.logins.seal(CHARACTER, "rotated")
    assert "rotated" not in sealed
    store.logins.save_rotated(CHARACTER, 1, sealed)
    with pytest.raises(LoginChanged):
        store.logins.save_rotated(CHARACTER, 1, sealed)
    login = store.logins.get(CHARACTER)
    assert login is not None
    assert (login.refresh_token, login.access_token, login.version, login.strikes) == ("rotated", None, 2, 1)


def test_a_character_that_needs_a_login_keeps_its_row_and_becomes_active_by_logging_in(
    store: Store, save_login: Callable[..., None]
) -> None:
    save_login(CHARACTER)
    assert store.logins.require_login(CHARACTER, 1, reason="the password was changed")
    assert not store.logins.require_login(CHARACTER, 1, reason="too late")
    character = store.logins.characters(NEEDS_LOGIN)[0]
    assert character.state_reason == "the password was changed"
    assert store.logins.all() == []
    assert store.logins.counts() == {"active": 0, "needs_login": 1}
    save_login(CHARACTER, refresh_token="new")
    assert store.logins.counts() == {"active": 1, "needs_login": 0}
    login = store.logins.get(CHARACTER)
    assert login is not None
    assert (login.state_reason, login.refresh_token) == (None, "new")
