"""Data and validator are saved together or not at all; a due route is found once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors import exact_json
from nomad_actors.clock import ManualClock
from nomad_actors.esi import EsiResponse
from nomad_actors.store import Changes, OverdueRoute, Store, UnexpectedRow
from nomad_actors.store.history import JOURNAL

CHARACTER = 90000001
WALLET = "/characters/{character_id}/wallet"


@pytest.fixture(autouse=True)
def _logged_in(save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)


def _save(
    store: Store,
    route: str,
    body: Any,
    *,
    character_id: int = CHARACTER,
    as_of_ms: int = 1_000,
    etag: str | None = '"a"',
    next_due_ms: int = 0,
) -> Changes:
    response = EsiResponse(200, False, body, etag, "then", as_of_ms + 3_600_000, 1, None)
    return store.documents.save(character_id, route, response, as_of_ms=as_of_ms, next_due_ms=next_due_ms)


def _renew(store: Store, route: str, *, as_of_ms: int, fresh_until_ms: int = 0, next_due_ms: int = 0) -> Changes:
    response = EsiResponse(304, True, None, None, None, fresh_until_ms, 1, None)
    return store.documents.renew(CHARACTER, route, response, as_of_ms=as_of_ms, next_due_ms=next_due_ms)


def _entry(number: int, date: str = "2026-10-01T12:00:00Z") -> dict[str, Any]:
    return {
        "id": number,
        "date": date,
        "ref_type": "bounty_prizes",
        "description": "d",
        "amount": 1.5,
        "balance": 2.5,
    }


def _journal_ids(store: Store) -> list[int]:
    with store.database.read() as connection:
        return list(connection.execute(sa.text("SELECT id FROM wallet_journal ORDER BY id")).scalars())


def test_a_document_and_its_validator_are_saved(store: Store, clock: ManualClock) -> None:
    assert store.documents.state(CHARACTER, WALLET) is None
    assert store.documents.body(CHARACTER, WALLET) is None
    _save(store, WALLET, 29_500.25, next_due_ms=5_000)
    state = store.documents.state(CHARACTER, WALLET)
    assert state is not None
    assert (state.etag, state.last_modified, state.fresh_until_ms) == ('"a"', "then", 3_601_000)
    assert (state.synced_ms, state.next_due_ms, state.failures) == (clock.now_ms(), 5_000, 0)
    assert store.documents.body(CHARACTER, WALLET) == 29_500.25


def test_a_row_that_cannot_be_saved_prevents_saving_the_validator(store: Store) -> None:
    _save(store, JOURNAL, [_entry(1)], next_due_ms=0)
    broken = [_entry(2), {"id": 3, "ref_type": "x", "description": "d"}]
    with pytest.raises(UnexpectedRow, match="wallet_journal has no 'date'"):
        _save(store, JOURNAL, broken, as_of_ms=2_000, etag='"b"', next_due_ms=0)
    state = store.documents.state(CHARACTER, JOURNAL)
    assert state is not None
    assert state.etag == '"a"'
    assert _journal_ids(store) == [1]
    assert store.documents.body(CHARACTER, JOURNAL) == [_entry(1)]


def test_not_modified_renews_and_keeps_missing_validators(store: Store) -> None:
    _save(store, WALLET, 1.0, next_due_ms=0)
    _renew(store, WALLET, as_of_ms=5_000, fresh_until_ms=9_000_000, next_due_ms=77)
    state = store.documents.state(CHARACTER, WALLET)
    assert state is not None
    assert (state.etag, state.last_modified, state.fresh_until_ms) == ('"a"', "then", 9_000_000)
    assert (state.as_of_ms, state.next_due_ms) == (5_000, 77)
    assert store.documents.body(CHARACTER, WALLET) == 1.0


def test_an_older_response_adds_its_rows_and_replaces_nothing(store: Store) -> None:
    _save(store, JOURNAL, [_entry(2)], as_of_ms=9_000, next_due_ms=0)
    assert _save(store, JOURNAL, [_entry(1)], as_of_ms=1_000, etag='"old"').new == 1
    state = store.documents.state(CHARACTER, JOURNAL)
    assert state is not None
    assert state.etag == '"a"'
    assert store.documents.body(CHARACTER, JOURNAL) == [_entry(2)]
    assert _journal_ids(store) == [1, 2]


def test_failures_are_counted_and_reset_by_a_success(store: Store) -> None:
    for _ in range(2):
        store.documents.save_failure(CHARACTER, WALLET, error="502", request_id="r")
    store.documents.save_failure(CHARACTER, WALLET, error="braked", was_asked=False)
    state = store.documents.state(CHARACTER, WALLET)
    assert state is not None
    # It is due as before, and what was not asked did not fail.
    assert (state.failures, state.error, state.next_due_ms) == (2, "braked", store.documents._clock.now_ms())
    store.documents.save_failure(CHARACTER, WALLET, error="403", request_id="r", refused_until_ms=77)
    state = store.documents.state(CHARACTER, WALLET)
    assert state is not None
    assert (state.request_id, state.refusals, state.refused_until_ms, state.next_due_ms) == ("r", 1, 77, 77)
    _save(store, WALLET, 1.0, next_due_ms=0)
    state = store.documents.state(CHARACTER, WALLET)
    assert state is not None
    assert (state.failures, state.error, state.refusals, state.refused_until_ms) == (0, None, 0, None)


def _overdue(store: Store, clock: ManualClock) -> list[OverdueRoute]:
    hour_ago_ms = clock.now_ms() - 3_600_000
    return store.documents.overdue(
        due_before_ms=clock.now_ms(), asked_since_ms=0, queued_before_ms=hour_ago_ms, limit=10
    )


def test_requested_routes_are_overdue_when_their_time_has_come(store: Store, clock: ManualClock) -> None:
    _save(store, WALLET, 1.0, next_due_ms=clock.now_ms() + 1_000)
    clock.advance(seconds=2)
    assert _overdue(store, clock) == []
    store.documents.save_requested(CHARACTER, WALLET)
    assert [(route.character_id, route.user_id, route.route) for route in _overdue(store, clock)] == [
        (CHARACTER, 7, WALLET)
    ]


def test_a_route_is_due_once_until_it_was_tried_or_an_hour_has_passed(store: Store, clock: ManualClock) -> None:
    store.documents.save_requested(CHARACTER, WALLET)
    store.documents.save_queued(_overdue(store, clock))
    clock.advance(seconds=300)
    assert _overdue(store, clock) == []
    clock.advance(seconds=3_600)
    assert len(_overdue(store, clock)) == 1
    store.documents.save_queued(_overdue(store, clock))
    clock.advance(seconds=1)
    store.documents.save_failure(CHARACTER, WALLET, error="e")
    assert len(_overdue(store, clock)) == 1


def test_a_character_that_needs_a_login_has_nothing_due(store: Store, clock: ManualClock) -> None:
    store.documents.save_requested(CHARACTER, WALLET)
    store.logins.require_login(CHARACTER, 1, reason="dead")
    assert _overdue(store, clock) == []


def test_a_request_can_make_a_route_due_earlier_but_not_later(store: Store, clock: ManualClock) -> None:
    _save(store, WALLET, 1.0, next_due_ms=50_000)
    store.documents.save_requested(CHARACTER, WALLET, due_ms=90_000, priority=3)
    store.documents.save_requested(CHARACTER, WALLET, due_ms=20_000, priority=2)
    store.documents.save_requested(CHARACTER, WALLET, due_ms=20_000, priority=3)
    state = store.documents.state(CHARACTER, WALLET)
    assert state is not None
    assert (state.next_due_ms, state.due_priority) == (20_000, 2)


def test_the_least_current_character_determines_a_routes_age(
    store: Store, save_login: Callable[..., None], clock: ManualClock
) -> None:
    first_ms = clock.now_ms()
    _save(store, WALLET, 1.0, next_due_ms=0)
    clock.advance(seconds=60)
    save_login(2)
    _save(store, WALLET, 1.0, next_due_ms=0, character_id=2)
    assert store.documents.oldest_synced_ms() == {WALLET: first_ms}


@pytest.mark.parametrize("route", [WALLET, JOURNAL])
def test_a_long_document_is_compressed_and_a_short_one_readable(store: Store, route: str) -> None:
    short, long = [_entry(1)], [_entry(number) for number in range(20)]
    for body in (short, long, [], "x" * 2_000):
        if route == JOURNAL and isinstance(body, str):
            continue
        _save(store, route, body)
        assert store.documents.body(CHARACTER, route) == body
        with store.database.read() as connection:
            stored = connection.execute(sa.text("SELECT body_json FROM documents")).scalar_one()
        text = exact_json.dumps(body).encode()
        assert (stored == text) if len(text) <= 1_000 else (len(stored) < len(text) / 5)
