"""How each route of each character is, read for operators; on SQLite and PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.store import Store
from nomad_actors.store.route_status import (
    CharacterFilter,
    Moment,
    count_characters,
    count_late,
    count_refusals,
    read_character,
    read_characters,
    read_refusals,
)
from nomad_actors.store.schema import characters, logins, set_aside_rows, sync_state

ROUTES = tuple(f"/characters/{{character_id}}/route-{number}" for number in range(25))
WALLET = ROUTES[0]
HOUR_MS = 3_600_000
EVERYONE = CharacterFilter()


@pytest.fixture
def now(clock: ManualClock) -> Moment:
    now_ms = clock.now_ms()
    return Moment(
        now_ms=now_ms,
        late_before_ms=now_ms - HOUR_MS // 4,
        subscribed_since_ms=now_ms - 720 * HOUR_MS,
        intervals_ms={ROUTES[0]: HOUR_MS, ROUTES[1]: 24 * HOUR_MS},
    )


@pytest.fixture
def add(store: Store, clock: ManualClock) -> Callable[..., None]:
    """`add(character_id, *routes, **changed)`: add a character, with columns of routes; the others are in order."""
    now_ms = clock.now_ms()

    def add(character_id: int, *routes: dict[str, Any], **changed: Any) -> None:
        with store.database.write() as connection:
            connection.execute(sa.insert(characters), [character(character_id, now_ms) | changed])
            for name, values in zip(ROUTES, routes, strict=False):
                connection.execute(sa.insert(sync_state), [in_order(character_id, name, now_ms) | values])

    return add


def character(character_id: int, now_ms: int) -> dict[str, Any]:
    return {
        "character_id": character_id,
        "user_id": 7,
        "name": f"Name {character_id}",
        "owner_hash": "owner",
        "scopes": ["wallet"],
        "state": "active",
        "state_changed_ms": now_ms,
        "created_ms": now_ms,
    }


def in_order(character_id: int, route: str, now_ms: int) -> dict[str, Any]:
    return {
        "character_id": character_id,
        "route": route,
        "attempted_ms": now_ms,
        "synced_ms": now_ms,
        "failures": 0,
        "next_due_ms": now_ms + HOUR_MS,
        "asked_ms": now_ms,
        "set_aside": 0,
    }


def ids(store: Store, now: Moment, chosen: CharacterFilter = EVERYONE, limit: int = 50) -> list[int]:
    """Return the ids of all characters that match, page by page."""
    found: list[int] = []
    after: tuple[int, int] | None = None
    while True:
        page, after = read_characters(store.database, now, chosen, limit=limit, after=after)
        found += [each.character_id for each in page]
        if after is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_what_needs_attention_is_first(store: Store, now: Moment, add: Callable[..., None], limit: int) -> None:
    failed = {"failures": 2, "error": "ESI answered 500"}
    add(1, {})
    add(2, {}, failed)
    add(3, {}, state="needs_login", state_reason="the token is dead")
    add(4, {"next_due_ms": now.late_before_ms - 1})
    add(5, failed | {"refused_until_ms": now.now_ms + HOUR_MS, "next_due_ms": now.now_ms + HOUR_MS})
    add(6, {"set_aside": 2})
    add(-7, {"next_due_ms": 0}, state="sold")
    # Due, but nobody has asked for it lately; and due just now.
    add(8, {"next_due_ms": 0, "asked_ms": now.subscribed_since_ms - 1}, {"next_due_ms": now.late_before_ms})
    # SSO rejects these logins; the second one's player must log in, which its state says already.
    add(9, {})
    add(10, {}, state="needs_login")
    add(11, {})
    with store.database.write() as connection:
        row = {"character_id": 6, "route": WALLET, "digest": "1", "reason": "no id", "row_json": "{}"}
        connection.execute(sa.insert(set_aside_rows), [row | {"first_seen_ms": 1, "last_seen_ms": 1}])
        struck = [strikes(9, 1, now.now_ms), strikes(10, 2, now.now_ms), strikes(11, 0, None)]
        connection.execute(sa.insert(logins), struck)
    assert ids(store, now, limit=limit) == [9, 3, 10, 2, 4, 5, 6, -7, 1, 8, 11]
    page, _ = read_characters(store.database, now, EVERYONE, limit=3)
    assert [(each.strikes, each.last_strike_ms) for each in page] == [(1, now.now_ms), (0, None), (0, None)]


def strikes(character_id: int, count: int, last_ms: int | None) -> dict[str, Any]:
    times = {"refreshed_ms": 1, "first_strike_ms": last_ms, "last_strike_ms": last_ms}
    return {"character_id": character_id, "refresh_token": "sealed", "version": 1, "strikes": count} | times


def test_the_worst_routes_of_a_character(store: Store, now: Moment, add: Callable[..., None]) -> None:
    # Overdue by five of its hours, and by less than one of its days, though for longer.
    late = ({"next_due_ms": now.now_ms - 5 * HOUR_MS}, {"next_due_ms": now.now_ms - 20 * HOUR_MS})
    failed = ({"failures": 2, "error": "ESI answered 500"}, {"failures": 5, "error": "ESI answered 502"})
    add(1, *late, *failed)
    add(2, {"failures": 0, "error": "not its own fault"}, {"next_due_ms": 0, "asked_ms": now.subscribed_since_ms - 1})
    (first, second), _ = read_characters(store.database, now, EVERYONE, limit=2)
    assert (first.overdue_route, first.overdue_since_ms) == (ROUTES[0], now.now_ms - 5 * HOUR_MS)
    assert (first.failed_route, first.failures, first.error) == (ROUTES[3], 5, "ESI answered 502")
    assert (second.overdue_route, second.failed_route, second.error) == (None, None, None)


def test_the_numbers_of_a_character(store: Store, now: Moment, add: Callable[..., None]) -> None:
    failed = {"failures": 2, "error": "ESI answered 403"}
    refused = failed | {"refused_until_ms": now.now_ms + HOUR_MS, "next_due_ms": now.now_ms + HOUR_MS}
    late = {"next_due_ms": now.late_before_ms - 5, "set_aside": 3}
    add(2, {}, refused, late, failed, failed | {"refused_until_ms": now.now_ms - 1, "synced_ms": None})
    (found,), _ = read_characters(store.database, now, EVERYONE, limit=1)
    assert (found.routes, found.late, found.failing, found.refused, found.set_aside) == (5, 1, 3, 1, 3)
    assert (found.needs_attention, found.next_due_ms, found.synced_ms) == (True, now.late_before_ms - 5, now.now_ms)
    assert found.scopes == {"wallet"}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (CharacterFilter(state="needs_login"), [3]),
        (CharacterFilter(user_id=8), [12]),
        (CharacterFilter(text="aDa"), [3, 12]),
        (CharacterFilter(text="a_a"), []),
        (CharacterFilter(text="100%"), [1]),
        (CharacterFilter(text="12"), [12]),
        (CharacterFilter(text="9" * 30), []),
        (CharacterFilter(state="active", user_id=8, text="ada"), [12]),
        (CharacterFilter(state="sold"), []),
    ],
)
def test_filters(
    store: Store, now: Moment, add: Callable[..., None], chosen: CharacterFilter, expected: list[int]
) -> None:
    add(1, name="The 100% man")
    add(3, name="Ada Voss", state="needs_login")
    add(12, name="Adamant", user_id=8)
    assert ids(store, now, chosen) == expected
    assert count_characters(store.database, chosen) == len(expected)


def test_one_character_and_one_that_is_unknown(store: Store, now: Moment, add: Callable[..., None]) -> None:
    add(2, {"error": "ESI answered 500", "failures": 1, "request_id": "abc"}, {})
    found = read_character(store.database, now, 2)
    assert found is not None
    assert [(each.route, each.error, each.request_id) for each in found[1]] == [
        (ROUTES[0], "ESI answered 500", "abc"),
        (ROUTES[1], None, None),
    ]
    assert read_character(store.database, now, 3) is None


def test_late_is_what_is_polled_and_overdue(store: Store, now: Moment, add: Callable[..., None]) -> None:
    late = {"next_due_ms": now.late_before_ms - 1}
    add(1, late)
    add(2, late, late, scopes=["wallet", "mail"])
    add(3, late, late, state="needs_login")
    add(4, late | {"asked_ms": None})
    add(5, late, scopes=[])
    scopes = {ROUTES[0]: ("wallet",), ROUTES[1]: ("wallet", "mail")}
    assert count_late(store.database, now, scopes) == {ROUTES[0]: 2, ROUTES[1]: 1}


def test_refusals_are_paged_the_newest_first(store: Store, now: Moment, add: Callable[..., None]) -> None:
    for number in (1, 2, 3):
        refused = {"refused_until_ms": now.now_ms + number, "refusals": number, "error": f"403 of {number}"}
        add(number, refused | {"attempted_ms": number, "failures": 1}, {})
    add(4, {"refused_until_ms": now.now_ms, "error": "403", "failures": 1})
    assert count_refusals(store.database, now.now_ms) == {WALLET: 3}
    first = read_refusals(store.database, now.now_ms, limit=2, offset=0)
    assert [(each.character_id, each.reason) for each in first] == [(3, "403 of 3"), (2, "403 of 2")]
    assert [each.character_id for each in read_refusals(store.database, now.now_ms, limit=2, offset=2)] == [1]


def test_a_row_that_does_not_fit_hides_no_other(store: Store, now: Moment, add: Callable[..., None]) -> None:
    add(1, {})
    add(2, {}, {})
    add(3, {})
    if not store.database.is_sqlite:
        with pytest.raises(sa.exc.DataError), store.database.write() as connection:
            connection.exec_driver_sql("UPDATE characters SET scopes = 'no json' WHERE character_id = 1")
        return
    with store.database.write() as connection:
        connection.exec_driver_sql("UPDATE characters SET scopes = 'no json' WHERE character_id = 1")
        connection.exec_driver_sql("UPDATE sync_state SET next_due_ms = 'soon', failures = 'x' WHERE character_id = 2")
    assert ids(store, now) == [2, 3]
    found = read_character(store.database, now, 2)
    assert found is not None
    assert found[1] == []


@contextmanager
def statements(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """Yield the statements that are executed, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, text: str, parameters: Any, *_: object) -> None:
        seen.append((text, parameters))

    sa.event.listen(store.database.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(store.database.engine, "before_cursor_execute", note)


def test_a_page_has_a_fixed_number_of_statements_and_at_most_one_pass(
    store: Store, clock: ManualClock, now: Moment
) -> None:
    fill(store, clock.now_ms(), 1_000, ROUTES)
    with statements(store) as seen:
        page, after = read_characters(store.database, now, EVERYONE, limit=20)
    assert (len(page), after is not None) == (20, True)
    queries = [(text, parameters) for text, parameters in seen if text.startswith(("SELECT", "WITH"))]
    assert len(queries) == 5
    passes = 0
    with store.database.read() as connection:
        for text, parameters in queries:
            plan = explain(connection, store, text, parameters)
            # The only one per row looks into the JSON of that row.
            assert not re.search(r"CORRELATED.*\n\s*(SCAN|SEARCH) (?!anon_\d+ VIRTUAL)", plan), plan
            assert "(SubPlan" not in plan, plan
            passes += plan.count("SCAN sync_state") + plan.count("Seq Scan on sync_state")
    # Which routes failed; with an index on these, none at all.
    assert passes <= 1


def explain(connection: sa.Connection, store: Store, text: str, parameters: Any) -> str:
    """Return the database's plan; its lines of subqueries that run once per statement included."""
    prefix = "EXPLAIN QUERY PLAN " if store.database.is_sqlite else "EXPLAIN "
    rows: Sequence[Any] = connection.exec_driver_sql(prefix + text, parameters).all()
    return "\n".join(str(row[-1]) for row in rows)


def fill(store: Store, now_ms: int, count: int, routes: Sequence[str]) -> None:
    """Add many characters, whose routes are in order but for one in a hundred."""
    failed = {"failures": 1, "error": "ESI answered 500"}
    with store.database.write() as connection:
        connection.execute(sa.insert(characters), [character(number, now_ms) for number in range(count)])
        connection.execute(
            sa.insert(sync_state),
            [
                {"error": None, **in_order(number, route, now_ms), **(failed if number % 100 == 0 else {})}
                for number in range(count)
                for route in routes
            ],
        )
    if not store.database.is_sqlite:
        # As its own maintenance does soon after.
        with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
