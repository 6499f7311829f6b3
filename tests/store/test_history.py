"""Responses become rows and events: the same response twice changes nothing, an older one breaks nothing."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.esi import EsiResponse
from nomad_actors.store import Changes, Snapshot, Store, history
from nomad_actors.store.history import (
    INDUSTRY_JOBS,
    JOURNAL,
    ORDERS,
    ORDERS_HISTORY,
    SKILLS,
)
from nomad_actors.store.history.rows import to_ms
from nomad_actors.store.schema import wallet_journal

CHARACTER = 90000001
DAY_MS = 86_400_000
#: As in conftest.
START_MS = 1_793_491_200_000
#: When the orders below were issued.
ISSUED = "2026-10-30T00:00:00Z"
ISSUED_MS = to_ms(ISSUED)


@pytest.fixture(autouse=True)
def _logged_in(save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)
    save_login(CHARACTER + 1)


@pytest.fixture
def absorb(store: Store) -> Callable[..., Changes]:
    """`absorb(route, body, as_of_ms, character_id=CHARACTER)`, read at the latest time so far."""
    times: list[int] = []

    def save(
        route: str,
        body: Any,
        as_of_ms: int = 1_000,
        character_id: int = CHARACTER,
    ) -> Changes:
        times.append(as_of_ms)
        snapshot = Snapshot(character_id, route, body, as_of_ms, "request", read_ms=max(times))
        with store.database.write() as connection:
            return history.absorb(connection, snapshot)

    return save


def _rows(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store.database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def _order(order_id: int, **changed: Any) -> dict[str, Any]:
    order = {
        "order_id": order_id,
        "duration": 90,
        "is_corporation": False,
        "issued": ISSUED,
        "location_id": 60003760,
        "price": 10.5,
        "range": "region",
        "region_id": 10000002,
        "type_id": 34,
        "volume_remain": 100,
        "volume_total": 100,
    }
    return order | changed


def _events(store: Store) -> list[tuple[Any, ...]]:
    return _rows(store, "SELECT order_id, kind, inferred FROM order_events ORDER BY event_id")


def _states(store: Store) -> dict[int, tuple[str, bool, int]]:
    found = _rows(store, "SELECT order_id, state, inferred, volume_remain FROM market_orders")
    return {row[0]: (row[1], bool(row[2]), row[3]) for row in found}


def test_the_same_journal_id_is_stored_for_both_parties(store: Store, absorb: Callable[..., Changes]) -> None:
    entry = {"id": 5, "date": ISSUED, "ref_type": "player_trading", "description": "d"}
    absorb(JOURNAL, [entry | {"amount": -10.0}])
    absorb(JOURNAL, [entry | {"amount": 10.0}], character_id=CHARACTER + 1)
    columns = wallet_journal.c.character_id, wallet_journal.c.amount
    with store.database.read() as connection:
        stored = connection.execute(sa.select(*columns).order_by(columns[0])).all()
    assert stored == [(CHARACTER, Decimal(-10)), (CHARACTER + 1, Decimal(10))]


def test_journal_rows_are_new_once_and_unknown_fields_are_stored(store: Store, absorb: Callable[..., Changes]) -> None:
    entry = {"id": 5, "date": ISSUED, "ref_type": "a_new_kind", "description": "d", "invented": [1]}
    assert absorb(JOURNAL, [entry, entry]) == Changes(seen=1, new=1)
    assert absorb(JOURNAL, [entry]) == Changes(seen=1)
    with store.database.read() as connection:
        row = connection.execute(sa.select(wallet_journal)).one()
    assert (row.ref_type, row.date_ms, row.amount, row.extra) == (
        "a_new_kind",
        ISSUED_MS,
        None,
        {"invented": [1]},
    )


def test_thousands_of_rows_are_stored_at_once(store: Store, absorb: Callable[..., Changes]) -> None:
    body = [{"id": n, "date": ISSUED, "ref_type": "x", "description": "d"} for n in range(2_500)]
    assert absorb(JOURNAL, body).new == 2_500
    assert _rows(store, "SELECT count(*) FROM wallet_journal") == [(2_500,)]


def test_an_orders_changes_are_stored_as_events(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(ORDERS, [_order(1), _order(2)], as_of_ms=1_000)
    absorb(ORDERS, [_order(1), _order(2)], as_of_ms=2_000)
    absorb(ORDERS, [_order(1, volume_remain=40), _order(2, price=9.0)], as_of_ms=3_000)
    absorb(ORDERS, [_order(2, price=9.0)], as_of_ms=4_000)
    absorb(ORDERS_HISTORY, [], as_of_ms=4_000)
    assert _events(store) == [
        (1, "placed", False),
        (2, "placed", False),
        (1, "partly_filled", False),
        (2, "changed", False),
        (1, "filled", True),
    ]
    assert _states(store) == {1: ("filled", True, 0), 2: ("open", False, 100)}


def test_a_missing_order_waits_for_a_recent_enough_history(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(ORDERS, [_order(1)], as_of_ms=1_000)
    absorb(ORDERS, [], as_of_ms=5_000)
    absorb(ORDERS_HISTORY, [], as_of_ms=4_999)
    assert _states(store) == {1: ("open", False, 100)}
    absorb(ORDERS_HISTORY, [_order(1, state="cancelled")], as_of_ms=6_000)
    assert _states(store) == {1: ("cancelled", False, 100)}
    assert _events(store) == [(1, "placed", False), (1, "cancelled", False)]


def test_an_unchanged_history_decides_too(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(ORDERS, [_order(1)], as_of_ms=1_000)
    absorb(ORDERS, [], as_of_ms=5_000)
    with store.database.write() as connection:
        changes = history.renew(connection, Snapshot(CHARACTER, ORDERS_HISTORY, None, 6_000))
    assert changes == Changes(changed=1, events=1)
    assert _states(store) == {1: ("filled", True, 0)}


def test_an_order_that_is_missing_after_its_duration_has_expired(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(ORDERS, [_order(1, duration=1)], as_of_ms=ISSUED_MS)
    absorb(ORDERS, [], as_of_ms=ISSUED_MS + DAY_MS)
    absorb(ORDERS_HISTORY, [], as_of_ms=ISSUED_MS + DAY_MS)
    assert _states(store) == {1: ("expired", True, 100)}


def test_an_older_response_neither_reopens_nor_closes_an_order(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(ORDERS, [_order(1), _order(2, volume_remain=10)], as_of_ms=5_000)
    absorb(ORDERS, [_order(2, volume_remain=90)], as_of_ms=4_000)
    absorb(ORDERS_HISTORY, [_order(3, state="cancelled")], as_of_ms=5_000)
    absorb(ORDERS, [_order(1), _order(2, volume_remain=10), _order(3)], as_of_ms=5_000)
    assert _states(store) == {
        1: ("open", False, 100),
        2: ("open", False, 10),
        3: ("cancelled", False, 100),
    }


def test_an_order_assumed_to_be_filled_is_reopened_if_it_is_listed_again(
    store: Store, absorb: Callable[..., Changes]
) -> None:
    absorb(ORDERS, [_order(1)], as_of_ms=1_000)
    absorb(ORDERS, [], as_of_ms=2_000)
    absorb(ORDERS_HISTORY, [], as_of_ms=2_000)
    absorb(ORDERS, [_order(1, volume_remain=60)], as_of_ms=3_000)
    assert _states(store) == {1: ("open", False, 60)}
    assert [event[1] for event in _events(store)] == ["placed", "filled", "reopened"]


def _job(job_id: int, status: str) -> dict[str, Any]:
    numbers = dict.fromkeys(
        (
            "activity_id",
            "blueprint_id",
            "blueprint_location_id",
            "blueprint_type_id",
            "duration",
            "facility_id",
            "installer_id",
            "output_location_id",
            "runs",
            "station_id",
        ),
        1,
    )
    return {**numbers, "job_id": job_id, "status": status, "start_date": ISSUED, "end_date": ISSUED}


def test_an_industry_jobs_statuses_are_stored_as_events_and_old_jobs_stay(
    store: Store, absorb: Callable[..., Changes]
) -> None:
    assert absorb(INDUSTRY_JOBS, [_job(1, "active"), _job(2, "active")]) == Changes(seen=2, new=2, events=2)
    assert absorb(INDUSTRY_JOBS, [_job(1, "active"), _job(2, "active")], 2_000) == Changes(seen=2)
    assert absorb(INDUSTRY_JOBS, [_job(1, "delivered")], 3_000) == Changes(seen=1, changed=1, events=1)
    assert absorb(INDUSTRY_JOBS, [_job(1, "active")], 2_500) == Changes()
    assert _rows(store, "SELECT job_id, status FROM industry_jobs ORDER BY 1") == [
        (1, "delivered"),
        (2, "active"),
    ]
    assert _rows(store, "SELECT job_id, old_status, new_status FROM industry_job_events ORDER BY event_id") == [
        (1, None, "active"),
        (2, None, "active"),
        (1, "active", "delivered"),
    ]


def _status(store: Store) -> list[tuple[Any, ...]]:
    found = _rows(store, "SELECT status, inferred FROM industry_jobs ORDER BY job_id")
    return [(row[0], bool(row[1])) for row in found]


def _job_events(store: Store) -> list[tuple[Any, ...]]:
    query = "SELECT old_status, new_status, at_ms, inferred, route FROM industry_job_events ORDER BY event_id"
    return [(*row[:3], bool(row[3]), row[4]) for row in _rows(store, query)]


def test_a_job_past_its_end_is_ready_until_esi_says_otherwise(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(INDUSTRY_JOBS, [_job(1, "active")], ISSUED_MS - 1_000)
    absorb(INDUSTRY_JOBS, [_job(1, "active")], ISSUED_MS + 9_000)
    assert _status(store) == [("ready", True)]
    # ESI is slow to say so.
    assert absorb(INDUSTRY_JOBS, [_job(1, "active")], ISSUED_MS + 10_000) == Changes(seen=1)
    assert absorb(INDUSTRY_JOBS, [_job(1, "ready")], ISSUED_MS + 11_000) == Changes(seen=1)
    assert _status(store) == [("ready", False)]
    assert absorb(INDUSTRY_JOBS, [_job(1, "active")], ISSUED_MS + 12_000) == Changes(seen=1)
    absorb(INDUSTRY_JOBS, [_job(1, "delivered")], ISSUED_MS + 13_000)
    assert _status(store) == [("delivered", False)]
    assert _job_events(store) == [
        (None, "active", ISSUED_MS - 1_000, False, INDUSTRY_JOBS),
        ("active", "ready", ISSUED_MS, True, INDUSTRY_JOBS),
        ("ready", "delivered", ISSUED_MS + 13_000, False, INDUSTRY_JOBS),
    ]


def test_a_job_whose_end_moves_is_active_again(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(INDUSTRY_JOBS, [_job(1, "active")], ISSUED_MS + 1_000)
    later = _job(1, "active") | {"end_date": "2026-10-31T00:00:00Z"}
    absorb(INDUSTRY_JOBS, [later], ISSUED_MS + 2_000)
    assert _status(store) == [("active", False)]
    absorb(INDUSTRY_JOBS, [later], ISSUED_MS + 2 * DAY_MS)
    assert [row[:4] for row in _job_events(store)] == [
        (None, "active", ISSUED_MS + 1_000, False),
        ("active", "ready", ISSUED_MS, True),
        ("ready", "active", ISSUED_MS + 2_000, False),
        ("active", "ready", ISSUED_MS + DAY_MS, True),
    ]


def test_a_job_becomes_ready_while_esi_confirms_its_response(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(INDUSTRY_JOBS, [_job(1, "active"), _job(2, "paused"), _job(3, "active")], ISSUED_MS - 2_000)
    # The third is no longer listed: nothing is known of it.
    absorb(INDUSTRY_JOBS, [_job(1, "active"), _job(2, "paused")], ISSUED_MS - 1_000)

    def renew(as_of_ms: int) -> Changes:
        with store.database.write() as connection:
            return history.renew(connection, Snapshot(CHARACTER, INDUSTRY_JOBS, None, as_of_ms))

    assert renew(ISSUED_MS - 500) == Changes()
    assert renew(ISSUED_MS + 500) == Changes(changed=1, events=1)
    assert renew(ISSUED_MS + 900) == Changes()
    assert _status(store) == [("ready", True), ("paused", False), ("active", False)]
    assert _job_events(store)[-1][1:4] == ("ready", ISSUED_MS, True)
    # A host that is behind.
    absorb(INDUSTRY_JOBS, [_job(1, "active")], ISSUED_MS - 100)
    assert _status(store)[0] == ("ready", True)


def test_what_became_of_an_order_is_unknown_if_the_history_no_longer_shows_the_time(
    store: Store, absorb: Callable[..., Changes]
) -> None:
    absorb(ORDERS, [_order(1, duration=365)], ISSUED_MS)
    absorb(ORDERS, [], ISSUED_MS + 120 * DAY_MS)
    absorb(ORDERS_HISTORY, [], ISSUED_MS + 120 * DAY_MS)
    assert _states(store) == {1: ("closed", True, 100)}
    assert [(row[1], bool(row[2])) for row in _events(store)] == [("placed", False), ("closed", True)]
    # A late response may know it.
    absorb(ORDERS_HISTORY, [_order(1, duration=365, state="cancelled")], ISSUED_MS + 121 * DAY_MS)
    assert _states(store) == {1: ("cancelled", False, 100)}


def test_an_order_that_not_modified_responses_confirmed_was_seen_lately(store: Store) -> None:
    def respond(route: str, body: Any, as_of_ms: int) -> None:
        response = EsiResponse(304 if body is None else 200, body is None, body, None, None, as_of_ms, 1, None)
        save = store.documents.renew if body is None else store.documents.save
        save(CHARACTER, route, response, as_of_ms=as_of_ms, next_due_ms=0)

    respond(ORDERS, [_order(1, duration=365)], START_MS - 120 * DAY_MS)
    respond(ORDERS, None, START_MS - DAY_MS)
    respond(ORDERS, [], START_MS)
    respond(ORDERS_HISTORY, [], START_MS)
    assert _states(store) == {1: ("filled", True, 0)}


def test_every_event_says_from_which_response_it_is(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(ORDERS, [_order(1), _order(2)], 1_000)
    absorb(ORDERS, [_order(1, price=9.0)], 2_000)
    absorb(ORDERS_HISTORY, [], 2_000)
    absorb(SKILLS, _skills(100, s1=(100, 1)))
    absorb(SKILLS, _skills(50, s1=(50, 1)), 2_000)
    absorb(INDUSTRY_JOBS, [_job(1, "active")], ISSUED_MS + 1_000)
    for table, routes in (
        ("order_events", {ORDERS, ORDERS_HISTORY}),
        ("skill_events", {SKILLS}),
        ("industry_job_events", {INDUSTRY_JOBS}),
    ):
        found = _rows(store, f"SELECT route, request_id, inferred FROM {table}")
        assert {row[0] for row in found} == routes
        assert {row[1] for row in found} == {"request"}
        assert None not in {row[2] for row in found}


def _skills(total: int, **points: tuple[int, int]) -> dict[str, Any]:
    return {
        "total_sp": total,
        "skills": [
            {
                "skill_id": int(name[1:]),
                "active_skill_level": level,
                "trained_skill_level": level,
                "skillpoints_in_skill": sp,
            }
            for name, (sp, level) in points.items()
        ],
    }


def test_skill_changes_are_signed_and_nothing_is_written_for_no_change(
    store: Store, absorb: Callable[..., Changes]
) -> None:
    assert absorb(SKILLS, _skills(300, s1=(100, 1), s2=(200, 2))) == Changes(seen=2, new=2)
    assert absorb(SKILLS, _skills(300, s1=(100, 1), s2=(200, 2)), 2_000) == Changes(seen=2)
    assert absorb(SKILLS, _skills(450, s1=(300, 2), s2=(100, 1), s3=(50, 0)), 3_000) == Changes(
        seen=3, new=1, changed=2, events=3
    )
    assert _rows(
        store, "SELECT skill_id, skillpoints_delta, level_delta, at_ms FROM skill_events ORDER BY event_id"
    ) == [(1, 200, 1, 3_000), (2, -100, -1, 3_000), (3, 50, 0, 3_000)]
    assert _rows(store, "SELECT at_ms, total_sp FROM skill_totals ORDER BY 1") == [
        (1_000, 300),
        (3_000, 450),
    ]


def test_a_missing_skill_has_dropped_to_zero(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(SKILLS, _skills(300, s1=(100, 1), s2=(200, 2)))
    absorb(SKILLS, _skills(100, s1=(100, 1)), 2_000)
    absorb(SKILLS, _skills(100, s1=(100, 1)), 3_000)
    assert _rows(store, "SELECT skill_id, skillpoints_delta, level_delta FROM skill_events") == [(2, -200, -2)]


def _skill_events(store: Store) -> list[tuple[Any, ...]]:
    return _rows(store, "SELECT skill_id, skillpoints_delta, at_ms FROM skill_events ORDER BY event_id")


def test_a_skill_that_is_missing_once_while_the_total_contains_it_is_no_event(
    store: Store, absorb: Callable[..., Changes]
) -> None:
    absorb(SKILLS, _skills(300, s1=(100, 1), s2=(200, 2)))
    assert absorb(SKILLS, _skills(300, s1=(100, 1)), 2_000) == Changes(seen=1)
    # Also if another skill has changed in the same response.
    assert absorb(SKILLS, _skills(350, s1=(150, 1)), 3_000) == Changes(seen=1, changed=1, events=1)
    assert absorb(SKILLS, _skills(350, s1=(150, 1), s2=(200, 2)), 4_000) == Changes(seen=2)
    assert _skill_events(store) == [(1, 50, 3_000)]


def test_missing_skills_are_lost_only_when_the_total_has_none_of_their_points(
    store: Store, absorb: Callable[..., Changes]
) -> None:
    absorb(SKILLS, _skills(600, s1=(100, 1), s2=(200, 2), s3=(300, 3)))
    # One of the two is lost, but which one?
    absorb(SKILLS, _skills(300, s1=(100, 1)), 2_000)
    assert _skill_events(store) == []
    absorb(SKILLS, _skills(300, s1=(100, 1), s2=(200, 2)), 3_000)
    assert _skill_events(store) == [(3, -300, 3_000)]


def test_a_list_without_any_skill_proves_no_loss(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(SKILLS, _skills(300, s1=(100, 1), s2=(200, 2)))
    absorb(SKILLS, _skills(0), 2_000)
    absorb(SKILLS, _skills(300, s1=(100, 1), s2=(200, 2)), 3_000)
    assert _skill_events(store) == []


def test_an_older_response_with_skills_adds_no_events(store: Store, absorb: Callable[..., Changes]) -> None:
    absorb(SKILLS, _skills(300, s1=(300, 3)), 5_000)
    assert absorb(SKILLS, _skills(100, s1=(100, 1)), 4_000) == Changes()
    assert _rows(store, "SELECT * FROM skill_events") == []


def test_routes_without_rows_are_stored_only_as_documents(absorb: Callable[..., Changes]) -> None:
    assert absorb("/characters/{character_id}/mail", [{"mail_id": 1}]) == Changes()
