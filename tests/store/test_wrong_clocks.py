"""A clock that was ahead, or is slow, claims no time that is not proven, and what comes later is believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES, EsiResponse
from nomad_actors.jobs.due_times import as_of_ms
from nomad_actors.store import Store
from nomad_actors.store.history import INDUSTRY_JOBS, JOURNAL, ORDERS, ORDERS_HISTORY, SKILLS
from nomad_actors.store.history.completeness import Completeness, completeness
from nomad_actors.store.schema import industry_jobs, market_orders, order_events, skill_events, skill_levels

CHARACTER = 90000001
DAY_S, DAY_MS = 86_400, 86_400_000
SHOWN_MS = 30 * DAY_MS - 1_000
#: As in conftest: 2026-11-01.
START_MS = 1_793_491_200_000


@pytest.fixture(autouse=True)
def _logged_in(save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)


@pytest.fixture
def respond(store: Store, clock: ManualClock) -> Callable[..., None]:
    """`respond(route, body, made_ms=None)`: save a response as a job does; `made_ms` is its Last-Modified, body None a
    304. The clock goes on between its times, as in a job."""

    def save(route: str, body: Any, made_ms: int | None = None) -> None:
        made = None if made_ms is None else format_datetime(datetime.fromtimestamp(made_ms / 1000, UTC), usegmt=True)
        fresh_until_ms = clock.now_ms() + ROUTES[route].cache_seconds * 1000
        response = EsiResponse(304 if body is None else 200, body is None, body, '"a"', made, fresh_until_ms, 1, "id")
        state = store.documents.state(CHARACTER, route)
        stored = {} if state is None else {"stored_ms": state.as_of_ms, "stored_last_modified": state.last_modified}
        true_ms = as_of_ms(ROUTES[route], response, now_ms=clock.now_ms(), **stored)  # type: ignore[arg-type]
        clock.advance(seconds=0.005)
        store_it = store.documents.renew if body is None else store.documents.save
        store_it(CHARACTER, route, response, as_of_ms=true_ms, next_due_ms=0)

    return save


@pytest.fixture
def read(store: Store, clock: ManualClock) -> Callable[..., Completeness]:
    def now(data_type: str = "wallet_journal") -> Completeness:
        with store.database.read() as connection:
            return completeness(connection, CHARACTER, clock.now_ms())[data_type]

    return now


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _values(store: Store, *columns: sa.Column[Any]) -> list[tuple[Any, ...]]:
    with store.database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns))]


def test_what_a_clock_claimed_that_was_ahead_at_a_304_is_taken_back(
    respond: Any, read: Any, clock: ManualClock
) -> None:
    respond(JOURNAL, [])
    clock.advance(seconds=20 * DAY_S)
    respond(JOURNAL, None)
    clock.advance(seconds=-19 * DAY_S)
    respond(JOURNAL, [], clock.now_ms() - 60_000)
    right_ms = read().complete_until_ms
    assert START_MS < right_ms <= clock.now_ms()
    clock.advance(seconds=48 * DAY_S)
    respond(JOURNAL, [])
    (hole,) = read().holes
    assert (hole.from_ms, hole.until_ms) == (right_ms, clock.now_ms() - SHOWN_MS)


def test_a_clock_that_was_ahead_at_the_first_response_is_forgotten_with_the_next(
    respond: Any, read: Any, clock: ManualClock
) -> None:
    clock.advance(seconds=100 * DAY_S)
    respond(JOURNAL, [])
    clock.advance(seconds=-100 * DAY_S)
    respond(JOURNAL, [], START_MS - 60_000)
    found = read()
    assert (found.complete_since_ms, found.holes) == (clock.now_ms() - SHOWN_MS, ())
    assert START_MS - 60_000 <= found.complete_until_ms <= found.complete_read_ms <= clock.now_ms()
    clock.advance(seconds=10 * DAY_S)
    respond(JOURNAL, [])
    assert (read().complete_since_ms, read().holes) == (found.complete_since_ms, ())
    assert clock.now_ms() - read().complete_until_ms < 1_000


def test_jobs_and_skills_are_believed_after_a_clock_was_ahead(
    respond: Any, read: Any, clock: ManualClock, store: Store
) -> None:
    respond(INDUSTRY_JOBS, [_job("active")], START_MS)
    respond(SKILLS, _skills(100), START_MS)
    clock.advance(seconds=100 * DAY_S)
    respond(INDUSTRY_JOBS, [_job("active", runs=2)], START_MS + 60_000)
    respond(SKILLS, None)
    respond(SKILLS, _skills(110), START_MS + 60_000)
    clock.advance(seconds=-99 * DAY_S)
    respond(INDUSTRY_JOBS, [_job("delivered")], clock.now_ms() - 60_000)
    respond(SKILLS, _skills(200), clock.now_ms() - 60_000)
    assert _values(store, industry_jobs.c.status) == [("delivered",)]
    assert _values(store, skill_levels.c.skillpoints) == [(200,)]
    assert _values(store, skill_events.c.skillpoints_delta) == [(10,), (90,)]
    for data_type in ("industry_jobs", "skill_history"):
        assert read(data_type).complete_until_ms <= clock.now_ms()


def test_a_304_takes_back_what_skills_claimed_only_if_their_list_agrees(
    respond: Any, read: Any, clock: ManualClock
) -> None:
    respond(SKILLS, _skills(100))
    clock.advance(seconds=100 * DAY_S)
    respond(SKILLS, None)
    claimed_ms = read("skill_history").complete_until_ms
    clock.advance(seconds=-99 * DAY_S)
    respond(SKILLS, _skills(100, total=300))
    respond(SKILLS, None)
    assert read("skill_history").complete_until_ms == claimed_ms
    respond(SKILLS, _skills(100))
    assert read("skill_history").complete_until_ms <= clock.now_ms()


def test_orders_are_believed_after_a_clock_was_ahead(respond: Any, read: Any, clock: ManualClock, store: Store) -> None:
    orders = [_order(1), _order(2), _order(3)]
    respond(ORDERS, orders)
    respond(ORDERS_HISTORY, [])
    clock.advance(seconds=100 * DAY_S)
    # Of the first one it is known that it is missing, the others were seen.
    respond(ORDERS, orders[1:])
    clock.advance(seconds=-100 * DAY_S + 3_600)
    respond(ORDERS, [_order(3, volume_remain=4)])
    respond(ORDERS_HISTORY, [])
    found = dict(_values(store, market_orders.c.order_id, market_orders.c.state))
    assert found == {1: "filled", 2: "filled", 3: "open"}
    assert _values(store, sa.func.max(order_events.c.at_ms))[0][0] <= clock.now_ms()  # type: ignore[arg-type]
    assert (3, "partly_filled") in _values(store, order_events.c.order_id, order_events.c.kind)
    assert read("market_orders").complete_until_ms <= clock.now_ms()


def test_last_modified_corrects_a_slow_clock(respond: Any, read: Any, clock: ManualClock) -> None:
    respond(JOURNAL, [])
    clock.advance(seconds=30 * DAY_S)
    made_ms = START_MS + 35 * DAY_MS
    respond(JOURNAL, [], made_ms)
    (hole,) = read().holes
    assert (hole.from_ms, hole.until_ms) == (START_MS, made_ms - SHOWN_MS)
    assert read().complete_until_ms < clock.now_ms()


def test_last_modified_corrects_the_slow_clock_of_either_route_of_orders(
    respond: Any, read: Any, clock: ManualClock
) -> None:
    respond(ORDERS, [])
    respond(ORDERS_HISTORY, [])
    clock.advance(seconds=90 * DAY_S)
    made_ms = START_MS + 95 * DAY_MS
    respond(ORDERS_HISTORY, [], made_ms)
    clock.advance(seconds=3_600)
    respond(ORDERS, [])
    (hole,) = (each for each in read("market_orders").holes if each.cause == "retention")
    assert hole.until_ms == made_ms - 90 * DAY_MS + 1_000


def _job(status: str, **changed: Any) -> dict[str, Any]:
    ids = ("job_id", "activity_id", "blueprint_id", "blueprint_location_id", "blueprint_type_id", "duration", "runs")
    more = ("facility_id", "installer_id", "output_location_id", "station_id")
    dates = {"start_date": _date(START_MS - DAY_MS), "end_date": _date(START_MS + 300 * DAY_MS)}
    return {**dict.fromkeys((*ids, *more), 1), **dates, "status": status, **changed}


def _skills(points: int, total: int | None = None) -> dict[str, Any]:
    skill = {"skill_id": 1, "active_skill_level": 1, "trained_skill_level": 1, "skillpoints_in_skill": points}
    return {"total_sp": points if total is None else total, "skills": [skill]}


def _order(order_id: int, **changed: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(("location_id", "region_id", "type_id", "price"), 1)
    volumes = {"volume_remain": 5, "volume_total": 5, "duration": 90}
    issued = {"issued": _date(START_MS - DAY_MS), "is_corporation": False, "range": "station"}
    return {"order_id": order_id, **numbers, **volumes, **issued, **changed}
