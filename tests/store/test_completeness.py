"""What is proven complete, and what is not: by responses in any order, with rows set aside, after months away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.esi import EsiResponse
from nomad_actors.esi.response import SetAside
from nomad_actors.store import Store
from nomad_actors.store.history import INDUSTRY_JOBS, JOURNAL, ORDERS, ORDERS_HISTORY, SKILLS, TRANSACTIONS
from nomad_actors.store.history.completeness import DATA_TYPES, Completeness, completeness
from nomad_actors.store.history.fleet import count_fillable, urgent
from nomad_actors.store.ownership import delete_rows
from nomad_actors.store.verification.holes import all_holes

CHARACTER = 90000001
DAY_MS = 86_400_000
#: What ESI shows of a journal for certain: its times are seconds, and the last one of 30 days may be half gone.
SHOWN_MS = 30 * DAY_MS - 1_000
#: As in conftest: 2026-11-01.
START_MS = 1_793_491_200_000


@pytest.fixture(autouse=True)
def _logged_in(save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)


Read = Callable[..., Completeness]


@pytest.fixture
def respond(store: Store, clock: ManualClock) -> Callable[..., Any]:
    """`respond(route, body, as_of_ms=now, lost=())`: save a response with rows that could not be stored."""

    def save(route: str, body: Any, as_of_ms: int | None = None, lost: Sequence[Any] = ()) -> Any:
        rows = tuple(SetAside(row, "bad", is_stored=False) for row in lost)
        response = EsiResponse(200, False, body, '"a"', None, clock.now_ms(), 1, "request", rows)
        as_of_ms = clock.now_ms() if as_of_ms is None else as_of_ms
        return store.documents.save(CHARACTER, route, response, as_of_ms=as_of_ms, next_due_ms=0)

    return save


@pytest.fixture
def confirm(store: Store, clock: ManualClock) -> Callable[..., Any]:
    """`confirm(route)`: save a 304."""

    def save(route: str) -> Any:
        response = EsiResponse(304, True, None, None, None, clock.now_ms(), 1, "request")
        return store.documents.renew(CHARACTER, route, response, as_of_ms=clock.now_ms(), next_due_ms=0)

    return save


@pytest.fixture
def read(store: Store, clock: ManualClock) -> Read:
    """`read(data_type="wallet_journal", character_id=CHARACTER)`: its completeness now."""

    def now(data_type: str = "wallet_journal", character_id: int = CHARACTER) -> Completeness:
        with store.database.read() as connection:
            return completeness(connection, character_id, clock.now_ms())[data_type]

    return now


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _entry(number: int, at_ms: int, amount: Any = None, balance: Any = None, **more: Any) -> dict[str, Any]:
    money = {"amount": amount, "balance": balance}
    known = {name: Decimal(value) for name, value in money.items() if value is not None}
    return {"id": number, "date": _date(at_ms), "ref_type": "x", "description": "d", **known, **more}


def _holes(found: Completeness) -> list[tuple[int, int, str]]:
    return [(hole.from_ms, hole.until_ms, hole.cause) for hole in found.holes]


def _rows(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store.database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_nothing_is_claimed_of_what_was_never_read(store: Store, clock: ManualClock) -> None:
    with store.database.read() as connection:
        found = completeness(connection, CHARACTER, clock.now_ms())
    assert tuple(found) == DATA_TYPES
    assert {each.complete_since_ms for each in found.values()} == {None}


def test_an_empty_wallet_is_complete_for_as_long_as_esi_shows(
    respond: Any, confirm: Any, read: Read, clock: ManualClock
) -> None:
    respond(JOURNAL, [])
    assert read() == Completeness(CHARACTER, "wallet_journal", START_MS - SHOWN_MS, START_MS, START_MS, ())
    clock.advance(seconds=29 * 86_400)
    confirm(JOURNAL)
    assert read().complete_since_ms == START_MS - SHOWN_MS
    assert read().complete_until_ms == read().complete_read_ms == clock.now_ms()


def test_after_45_days_away_two_weeks_are_a_hole_that_stays(
    respond: Any, confirm: Any, read: Read, clock: ManualClock
) -> None:
    respond(JOURNAL, [_entry(1, START_MS - DAY_MS, 5, 5)])
    clock.advance(seconds=45 * 86_400)
    respond(JOURNAL, [_entry(9, clock.now_ms() - DAY_MS, 1, 7)])
    expected = [(START_MS, clock.now_ms() - SHOWN_MS, "retention")]
    assert _holes(read()) == expected
    hole = read().holes[0]
    assert not hole.can_be_filled
    assert "between the entries 1 and 9, 1.00 ISK are missing" in hole.details
    clock.advance(seconds=3_600)
    confirm(JOURNAL)
    respond(JOURNAL, [_entry(9, clock.now_ms() - DAY_MS - 3_600_000, 1, 7)])
    assert _holes(read()) == expected
    assert read().complete_since_ms == START_MS - SHOWN_MS
    assert read().holes[0].found_ms == hole.found_ms


def test_balances_that_agree_do_not_close_a_hole_but_are_named(respond: Any, read: Read, clock: ManualClock) -> None:
    # What is missing may add up to nothing: a loan that was given and paid back.
    respond(JOURNAL, [_entry(1, START_MS - DAY_MS, 5, 5)])
    clock.advance(seconds=45 * 86_400)
    respond(JOURNAL, [_entry(9, clock.now_ms() - DAY_MS, 1, 6)])
    assert [hole.cause for hole in read().holes] == ["retention"]
    assert "what may be missing adds up to 0 ISK" in read().holes[0].details


def test_an_older_hosts_response_takes_nothing_back(respond: Any, read: Read, clock: ManualClock) -> None:
    respond(JOURNAL, [])
    clock.advance(seconds=40 * 86_400)
    respond(JOURNAL, [])
    found = read()
    respond(JOURNAL, [], as_of_ms=clock.now_ms() - DAY_MS)
    assert read() == found


def test_a_missing_entry_is_a_hole_until_a_later_response_has_it(respond: Any, read: Read, clock: ManualClock) -> None:
    at = [START_MS - n * 3_600_000 for n in (5, 4, 3)]
    first, lost, last = _entry(1, at[0], 10, 10), _entry(2, at[1], 5, 15), _entry(3, at[2], 1, 16)
    respond(JOURNAL, [last, first])
    (hole,) = read().holes
    assert (hole.from_ms, hole.until_ms, hole.cause) == (at[0], at[2], "balance")
    assert hole.details == "between the entries 1 and 3, 5.00 ISK are missing"
    assert hole.can_be_filled
    clock.advance(seconds=3_600)
    respond(JOURNAL, [last, first])
    assert read().holes == (hole,)
    respond(JOURNAL, [last, lost, first])
    assert read().holes == ()


def test_the_chain_is_checked_across_responses_and_with_negative_balances(
    respond: Any, read: Read, clock: ManualClock
) -> None:
    respond(JOURNAL, [_entry(1, START_MS - 9_000, -10, -10)])
    clock.advance(seconds=3_600)
    respond(JOURNAL, [_entry(2, START_MS + 9_000, "-5.55", "-15.55")])
    assert read().holes == ()
    clock.advance(seconds=3_600)
    respond(JOURNAL, [_entry(4, clock.now_ms() - 9_000, -1, -20)])
    assert [(hole.cause, hole.details) for hole in read().holes] == [
        ("balance", "between the entries 2 and 4, -3.45 ISK are missing")
    ]


def test_entries_of_one_second_may_have_their_ids_in_any_order(respond: Any, read: Read) -> None:
    at_ms = START_MS - 9_000
    chain = [_entry(7, at_ms, 1, 11), _entry(5, at_ms, -3, 8), _entry(6, at_ms, 4, 12), _entry(8, at_ms + 2_000, 1, 13)]
    first = _entry(1, at_ms - 1_000, 10, 10)
    respond(JOURNAL, [first, *chain])
    assert read().holes == ()
    respond(JOURNAL, [first, *chain[:2], _entry(9, at_ms, 1, 20), chain[3]])
    assert {hole.cause for hole in read().holes} == {"balance"}


@pytest.mark.parametrize("unproven", [{}, {"amount": 3}, {"balance": 13}])
def test_entries_without_amount_or_balance_show_no_hole(unproven: dict[str, int], respond: Any, read: Read) -> None:
    at_ms = START_MS - 9_000
    respond(JOURNAL, [_entry(1, at_ms, 10, 10), _entry(2, at_ms + 1_000, **unproven), _entry(3, at_ms + 2_000, 1, 14)])
    assert read().holes == ()
    assert read().complete_until_ms == START_MS


def test_a_row_set_aside_in_mid_chain_stops_the_proof_until_it_is_read(
    respond: Any, confirm: Any, read: Read, clock: ManualClock
) -> None:
    respond(JOURNAL, [])
    clock.advance(seconds=7_200)
    bad_ms = START_MS + 3_000
    others = [_entry(1, START_MS + 1_000, 10, 10), _entry(3, START_MS + 5_000, 1, 14)]
    respond(JOURNAL, others, lost=[_entry(2, bad_ms, 3, 13) | {"id": None}])
    found = read()
    assert (_holes(found), found.complete_until_ms) == ([(bad_ms, bad_ms, "set_aside")], bad_ms)
    assert "between the entries 1 and 3, 3.00 ISK are missing" in found.holes[0].details
    assert found.complete_read_ms == START_MS
    clock.advance(seconds=3_600)
    confirm(JOURNAL)
    assert read().complete_until_ms == bad_ms
    respond(JOURNAL, [others[0], _entry(2, bad_ms, 3, 13), others[1]])
    assert read().holes == ()
    assert read().complete_until_ms == read().complete_read_ms == clock.now_ms()


def test_a_row_set_aside_until_it_is_too_old_leaves_a_hole(respond: Any, read: Read, clock: ManualClock) -> None:
    respond(TRANSACTIONS, [])
    clock.advance(seconds=3_600)
    bad_ms = clock.now_ms() - 60_000
    for _ in range(30):
        respond(TRANSACTIONS, [], lost=[{"date": _date(bad_ms)}])
        clock.advance(seconds=86_400)
    respond(TRANSACTIONS, [])
    found = read("wallet_transactions")
    assert found.complete_until_ms == clock.now_ms()
    assert _holes(found) == [(bad_ms, clock.now_ms() - SHOWN_MS, "set_aside")]


@pytest.mark.parametrize("row", [None, "text", {}, {"date": 5}, {"date": "2999-01-01T00:00:00Z"}])
def test_a_row_of_an_unknown_time_proves_nothing_since_the_last_complete_response(
    row: Any, respond: Any, read: Read, clock: ManualClock
) -> None:
    respond(JOURNAL, [], lost=[row])
    assert _holes(read()) == [(START_MS - SHOWN_MS, START_MS, "set_aside")]
    assert read().complete_since_ms is None
    respond(JOURNAL, [])
    assert _holes(read()) == []
    clock.advance(seconds=3_600)
    respond(JOURNAL, [], lost=[row])
    assert _holes(read()) == [(START_MS, clock.now_ms(), "set_aside")]
    assert read().complete_until_ms == START_MS


def test_a_row_that_became_unreadable_after_it_was_stored_costs_nothing(
    respond: Any, read: Read, clock: ManualClock
) -> None:
    entry = _entry(1, START_MS - 9_000, 10, 10)
    respond(JOURNAL, [entry])
    clock.advance(seconds=3_600)
    respond(JOURNAL, [], lost=[entry | {"description": 5}])
    assert (read().holes, read().complete_until_ms) == ((), clock.now_ms())
    # But a late one of a proven time does.
    respond(JOURNAL, [entry], lost=[_entry(2, START_MS - 5_000) | {"description": 5}])
    assert _holes(read()) == [(START_MS - 5_000, START_MS - 5_000, "set_aside")]
    assert read().complete_until_ms == clock.now_ms()


def test_an_older_response_with_rows_set_aside_says_nothing(respond: Any, read: Read) -> None:
    respond(JOURNAL, [_entry(1, START_MS - 9_000, 10, 10)])
    found = read()
    respond(JOURNAL, [], as_of_ms=START_MS - DAY_MS, lost=[None])
    assert read() == found


def test_orders_are_complete_up_to_the_older_of_their_two_routes(
    respond: Any, confirm: Any, read: Read, clock: ManualClock
) -> None:
    respond(ORDERS, [])
    assert read("market_orders").complete_until_ms is None
    clock.advance(seconds=1_200)
    respond(ORDERS_HISTORY, [])
    found = read("market_orders")
    assert (found.complete_since_ms, found.complete_until_ms) == (START_MS, START_MS)
    history_ms = clock.now_ms()
    clock.advance(seconds=1_200)
    confirm(ORDERS)
    assert read("market_orders").complete_until_ms == history_ms
    clock.advance(seconds=1_200)
    respond(ORDERS_HISTORY, [], lost=[{"issued": _date(START_MS)}])
    assert _holes(read("market_orders")) == [(history_ms, clock.now_ms(), "set_aside")]
    confirm(ORDERS)
    assert read("market_orders").complete_until_ms == history_ms
    clock.advance(seconds=1_200)
    respond(ORDERS_HISTORY, [])
    confirm(ORDERS)
    assert (read("market_orders").holes, read("market_orders").complete_until_ms) == ((), clock.now_ms())


def test_orders_have_a_hole_if_the_history_was_not_read_for_longer_than_esi_keeps_it(
    respond: Any, read: Read, clock: ManualClock
) -> None:
    respond(ORDERS, [])
    respond(ORDERS_HISTORY, [])
    clock.advance(seconds=120 * 86_400)
    respond(ORDERS, [])
    assert read("market_orders").complete_until_ms == START_MS
    respond(ORDERS_HISTORY, [])
    assert _holes(read("market_orders")) == [
        (START_MS, clock.now_ms() - 90 * DAY_MS + 1_000, "retention"),
        (START_MS, clock.now_ms(), "unseen"),
    ]


@pytest.mark.parametrize("is_modified", [True, False])
def test_orders_that_were_filled_between_two_distant_lists_are_a_hole_that_stays(
    is_modified: bool, respond: Any, confirm: Any, read: Read, clock: ManualClock, store: Store
) -> None:
    respond(ORDERS, [])
    respond(ORDERS_HISTORY, [])
    clock.advance(seconds=3_600)
    _read_orders(respond, confirm, is_modified)
    assert _holes(read("market_orders")) == []
    begin_ms = clock.now_ms()
    clock.advance(seconds=3_601)
    _read_orders(respond, confirm, is_modified)
    found = read("market_orders")
    assert (_holes(found), found.complete_until_ms) == ([(begin_ms, clock.now_ms(), "unseen")], clock.now_ms())
    assert not found.holes[0].can_be_filled
    assert not all_holes(store.database, clock.now_ms(), 9)[0][0].hole.can_be_filled
    assert (count_fillable(store.database, clock.now_ms()), urgent(store.database, clock.now_ms(), 0.5)) == (0, set())
    for _ in range(4):
        clock.advance(seconds=1_200)
        _read_orders(respond, confirm, is_modified)
    assert read("market_orders").holes == found.holes


def test_lists_of_open_orders_that_are_always_far_apart_make_one_hole(
    respond: Any, confirm: Any, read: Read, clock: ManualClock
) -> None:
    found_ms = 0
    for day in range(5):
        respond(ORDERS, [])
        respond(ORDERS_HISTORY, [])
        found_ms = clock.now_ms() if day == 1 else found_ms
        clock.advance(seconds=600)
        confirm(ORDERS)
        clock.advance(seconds=86_400)
    (hole,) = read("market_orders").holes
    assert (hole.from_ms, hole.until_ms) == (START_MS + 600_000, START_MS + 4 * 87_000_000)
    assert hole.found_ms == found_ms


def test_a_list_with_a_row_set_aside_does_not_say_which_orders_were_open(
    respond: Any, read: Read, clock: ManualClock
) -> None:
    respond(ORDERS, [])
    respond(ORDERS_HISTORY, [])
    for lost in ([{"order_id": 1}], [{"order_id": 1}], [{"order_id": 1}], []):
        clock.advance(seconds=1_200)
        respond(ORDERS, [], lost=lost)
    respond(ORDERS_HISTORY, [])
    assert _holes(read("market_orders")) == [(START_MS, clock.now_ms(), "unseen")]


def test_orders_that_were_filled_before_the_first_lists_are_not_claimed(
    respond: Any, read: Read, clock: ManualClock
) -> None:
    respond(ORDERS_HISTORY, [])
    clock.advance(seconds=7_200)
    respond(ORDERS, [])
    respond(ORDERS_HISTORY, [])
    found = read("market_orders")
    assert (found.complete_since_ms, found.complete_until_ms) == (START_MS, clock.now_ms())
    assert _holes(found) == [(START_MS, clock.now_ms(), "unseen")]


def _read_orders(respond: Any, confirm: Any, is_modified: bool) -> None:
    for route in (ORDERS, ORDERS_HISTORY):
        respond(route, []) if is_modified else confirm(route)


def _skills(total: int, points: int) -> dict[str, Any]:
    skill = {"skill_id": 1, "active_skill_level": 1, "trained_skill_level": 1, "skillpoints_in_skill": points}
    return {"total_sp": total, "skills": [skill]}


def test_skills_are_complete_since_the_first_response_that_agrees_with_its_total(
    respond: Any, confirm: Any, read: Read, clock: ManualClock
) -> None:
    respond(SKILLS, _skills(200, 100))
    confirm(SKILLS)
    assert read("skill_history").complete_since_ms is None
    respond(SKILLS, _skills(100, 100))
    clock.advance(seconds=365 * 86_400)
    confirm(SKILLS)
    found = read("skill_history")
    assert (found.complete_since_ms, found.complete_until_ms, found.holes) == (START_MS, clock.now_ms(), ())
    clock.advance(seconds=3_600)
    respond(SKILLS, _skills(300, 100))
    confirm(SKILLS)
    assert read("skill_history") == found


def test_industry_jobs_are_complete_by_complete_responses(
    respond: Any, confirm: Any, read: Read, clock: ManualClock
) -> None:
    respond(INDUSTRY_JOBS, [])
    clock.advance(seconds=3_600)
    respond(INDUSTRY_JOBS, [], lost=[{"job_id": 1}])
    assert _holes(read("industry_jobs")) == [(START_MS, clock.now_ms(), "set_aside")]
    clock.advance(seconds=3_600)
    confirm(INDUSTRY_JOBS)
    assert read("industry_jobs").complete_until_ms == START_MS


def test_a_sold_characters_proof_stays_with_its_owner(
    respond: Any, read: Read, clock: ManualClock, save_login: Any, store: Store
) -> None:
    respond(JOURNAL, [], lost=[None])
    respond(TRANSACTIONS, [])
    of_owner = read("wallet_transactions")
    save_login(CHARACTER, owner_hash="another", user_id=8)
    assert read("wallet_transactions").complete_since_ms is None
    assert read().holes == ()
    (archive_id,) = (row[0] for row in _rows(store, "SELECT character_id FROM characters WHERE state = 'sold'"))
    assert read("wallet_transactions", archive_id).complete_until_ms == of_owner.complete_until_ms
    assert len(read(character_id=archive_id).holes) == 1
    delete_rows(store.database, archive_id)
    assert read(character_id=archive_id).holes == ()


def test_a_changed_value_is_recorded_beside_the_old_one(respond: Any, store: Store, clock: ManualClock) -> None:
    entry = _entry(1, START_MS - 9_000, "10.5", 10, new_field=Decimal("0.125"))
    respond(JOURNAL, [entry])
    assert respond(JOURNAL, [entry]).changed == 0
    changed = entry | {"amount": Decimal("11"), "new_field": {"b": 1}, "reason": "späte"}
    assert respond(JOURNAL, [changed, changed]).changed == 1
    assert respond(JOURNAL, [entry], as_of_ms=START_MS - DAY_MS).changed == 0
    query = (
        "SELECT row_id, field, old_value, new_value, corrected_ms, request_id FROM history_corrections ORDER BY field"
    )
    by = (clock.now_ms(), "request")
    assert _rows(store, query) == [
        (1, "amount", "10.50", "11.00", *by),
        (1, "extra", '{"new_field":0.125}', '{"new_field":{"b":1}}', *by),
        (1, "reason", None, '"sp\\u00e4te"', *by),
    ]
    assert respond(JOURNAL, [changed]).changed == 0


def test_rows_that_come_again_are_not_written(respond: Any, store: Store) -> None:
    rows = [_entry(n, START_MS - 9_000, 1, n) for n in range(1, 4)]
    respond(JOURNAL, rows)
    written: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        written.append(statement)

    engine = store.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    respond(JOURNAL, rows)
    sa.event.remove(engine, "before_cursor_execute", note)
    assert not [each for each in written if "wallet_journal" in each and not each.startswith("SELECT")]
