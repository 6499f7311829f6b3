"""The queries that run all the time use an index, at 5,000 characters with 25 routes each; on SQLite and PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.store import OverdueRoute, Store
from nomad_actors.store.history import JOURNAL
from nomad_actors.store.history.completeness import completeness
from nomad_actors.store.route_status import (
    CharacterFilter,
    Moment,
    count_refusals,
    read_character,
    read_characters,
    read_refusals,
)

CHARACTERS, ROUTES = 5_000, 25
HOUR_MS = 3_600_000
BIG = ("sync_state", "documents", "history_coverage", "history_holes")
NUMBERS = "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :last) "
#: Every hundredth route is overdue, every thousandth is refused.
FILL = (
    (
        CHARACTERS,
        """INSERT INTO characters
        (character_id, user_id, name, owner_hash, scopes, state, state_changed_ms, created_ms)
        SELECT n, 1, 'n', 'o', '[]', 'active', :now, :now FROM numbers""",
    ),
    (
        CHARACTERS * ROUTES,
        f"""INSERT INTO sync_state
        (character_id, route, failures, refusals, set_aside, next_due_ms, asked_ms, attempted_ms, as_of_ms, error,
         refused_until_ms)
        SELECT n / {ROUTES}, '/r' || (n % {ROUTES}), 0, 0, 0,
               :now + {HOUR_MS} - CASE WHEN n % 100 = 0 THEN {2 * HOUR_MS} ELSE 0 END, :now, :now, :now,
               CASE WHEN n % 1000 = 0 THEN 'ESI answered 403' END,
               CASE WHEN n % 1000 = 0 THEN :now + {HOUR_MS} END FROM numbers""",
    ),
    (
        CHARACTERS,
        """INSERT INTO history_coverage
        (character_id, data_type, complete_since_ms, complete_until_ms, complete_read_ms)
        SELECT n, 'wallet_journal', 0, :now, :now FROM numbers""",
    ),
    (
        CHARACTERS * 2,
        """INSERT INTO history_holes (character_id, data_type, from_ms, until_ms, cause, details, found_ms)
        SELECT n / 2, 'wallet_journal', n % 2, 2, 'retention', '', :now FROM numbers""",
    ),
)
DOCUMENTS = "INSERT INTO documents SELECT character_id, route, :body, 1 FROM sync_state"


def fill(store: Store, now_ms: int) -> None:
    with store.database.write() as connection:
        if not store.database.is_sqlite:
            # Without checks of foreign keys, which take most of the time.
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for count, statement in FILL:
            insert, _, select = statement.partition("SELECT")
            values = {"last": count - 1, "now": now_ms}
            connection.execute(sa.text(f"{insert} {NUMBERS} SELECT {select}"), values)
        connection.execute(sa.text(DOCUMENTS), {"body": b"{}"})
        if not store.database.is_sqlite:
            connection.execute(sa.text("ANALYZE"))


@contextmanager
def executed(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that are executed in a `with` block."""
    found: list[tuple[str, Any]] = []

    def collect(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
        found.append((statement, values[0] if many else values))

    sa.event.listen(store.database.engine, "before_cursor_execute", collect)
    try:
        yield found
    finally:
        sa.event.remove(store.database.engine, "before_cursor_execute", collect)


def plan(store: Store, statement: str, values: Any) -> str:
    explain = "EXPLAIN QUERY PLAN " if store.database.is_sqlite else "EXPLAIN "
    with store.database.read() as connection:
        rows = connection.exec_driver_sql(explain + statement, values).all()
    return "\n".join(row[-1] for row in rows)


def scanned(store: Store, steps: str) -> list[str]:
    """Return the big tables that a plan reads from end to end."""
    pattern = r"SCAN (\w+)(?! USING (?:COVERING )?INDEX)\b" if store.database.is_sqlite else r"Seq Scan on (\w+)"
    return [name for name in re.findall(pattern, steps) if name in BIG]


def hot(store: Store, now_ms: int) -> dict[str, Callable[[], object]]:
    """Return what runs for every job, every sweep, and every look at the characters."""
    now = Moment(
        now_ms=now_ms,
        late_before_ms=now_ms - HOUR_MS // 4,
        subscribed_since_ms=now_ms - 720 * HOUR_MS,
        intervals_ms={f"/r{number}": HOUR_MS for number in range(ROUTES)},
    )
    documents, database = store.documents, store.database
    due = {"subscribed_since_ms": 0, "queued_before_ms": now_ms, "limit": 1_000}
    return {
        "state": lambda: documents.state(7, "/r3"),
        "body": lambda: documents.body(7, "/r3"),
        "requested": lambda: documents.save_requested(7, "/r3"),
        "failure": lambda: documents.save_failure(7, "/r3", error="e"),
        "overdue": lambda: documents.overdue(due_before_ms=now_ms - HOUR_MS // 2, **due),
        "queued": lambda: documents.save_queued([OverdueRoute(7, 1, frozenset(), "/r3", None)]),
        "characters": lambda: read_characters(database, now, CharacterFilter(), limit=50),
        "their next page": lambda: read_characters(database, now, CharacterFilter(), limit=50, after=(2, 100)),
        "one character": lambda: read_character(database, now, 7),
        "refusals": lambda: read_refusals(database, now_ms, limit=50, offset=0),
        "counted refusals": lambda: count_refusals(database, now_ms),
        "completeness": lambda: _completeness(store, now_ms),
        "listing": lambda: store.listing_pages.of(7, JOURNAL, may_be_held=True).pages(),
    }


def _completeness(store: Store, now_ms: int) -> object:
    with store.database.read() as connection:
        return completeness(connection, 7, now_ms)


def test_hot_queries_use_an_index(store: Store, clock: ManualClock) -> None:
    fill(store, clock.now_ms())
    checked = 0
    for name, run in hot(store, clock.now_ms()).items():
        with executed(store) as statements:
            assert run() is not False
        for statement, values in statements:
            if statement.startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
                steps = plan(store, statement, values)
                assert scanned(store, steps) == [], f"{name}: {statement}\n{steps}"
                checked += any(table in statement for table in BIG)
    assert checked >= len(hot(store, clock.now_ms())) - 1


def test_a_plan_that_reads_a_big_table_is_found(store: Store, clock: ManualClock) -> None:
    steps = plan(store, "SELECT * FROM sync_state WHERE failures = 5", () if store.database.is_sqlite else None)
    assert scanned(store, steps) == ["sync_state"], steps
