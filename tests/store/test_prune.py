"""Old rows are deleted with what belongs to them; whenever that stops, the history says since when it is complete."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.esi import EsiResponse
from nomad_actors.store import Store, schema
from nomad_actors.store.prune import Cutoffs, count_old, prune
from nomad_actors.store.schema import (
    history_corrections,
    history_coverage,
    history_holes,
    industry_job_events,
    industry_jobs,
    market_orders,
    metadata,
    order_events,
    set_aside_rows,
    skill_events,
    skill_totals,
    wallet_journal,
    wallet_transactions,
)
from nomad_actors.store.upsert import upsert

CUTOFF = 10_000
HISTORY = Cutoffs(None, CUTOFF)
#: Times before and after the cutoff.
OLD, NEW = CUTOFF - 1, CUTOFF
KILLED = """
import os, signal, sys
from nomad_actors.store import Store
from nomad_actors.store.database import Database
from nomad_actors.store.prune import Cutoffs, prune
prune(Database(sys.argv[1]), Cutoffs(None, 10_000), report=lambda table, rows: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.fixture
def filled(store: Store, save_login: Callable[..., None]) -> Store:
    for character_id in (1, 2):
        save_login(character_id)
    return store


def put(store: Store, table: sa.Table, *rows: dict[str, Any]) -> None:
    """Insert rows with values for the columns that must have one."""
    with store.database.write() as connection:
        connection.execute(sa.insert(table), [{**_needed(table), "character_id": 1, **row} for row in rows])


def _needed(table: sa.Table) -> dict[str, Any]:
    needed = [column for column in table.c if not column.nullable and column.autoincrement is not True]
    is_text = {column.name: issubclass(column.type.python_type, str) for column in needed if column.name != "event_id"}
    counted = {"entry_id", "hole_id"}
    return {name: "text" if text else 0 for name, text in is_text.items() if name not in counted}


def kept(store: Store, column: sa.Column[Any]) -> list[Any]:
    with store.database.read() as connection:
        return list(connection.execute(sa.select(column).order_by(column)).scalars())


def covered(store: Store) -> dict[tuple[int, str], tuple[int, int]]:
    with store.database.read() as connection:
        rows = connection.execute(sa.select(history_coverage))
        return {(row.character_id, row.data_type): (row.complete_since_ms, row.complete_until_ms) for row in rows}


def test_old_rows_go_with_their_corrections_and_the_coverage_moves(filled: Store) -> None:
    put(
        filled,
        wallet_journal,
        {"id": 1, "date_ms": OLD},
        {"id": 2, "date_ms": NEW},
        {"character_id": 2, "date_ms": NEW},
    )
    put(filled, wallet_transactions, {"transaction_id": 1, "date_ms": OLD}, {"transaction_id": 2, "date_ms": NEW})
    for row_id in (1, 2):
        put(filled, history_corrections, {"data_type": "wallet_journal", "row_id": row_id, "corrected_ms": OLD})
    coverage = {"complete_since_ms": 5, "complete_until_ms": NEW + 5, "complete_read_ms": NEW + 5}
    for character_id in (1, 2):
        put(filled, history_coverage, {"character_id": character_id, "data_type": "wallet_journal", **coverage})
    put(filled, history_coverage, {"data_type": "wallet_transactions", **coverage, "complete_until_ms": 7})
    for until_ms in (CUTOFF, CUTOFF + 1):
        put(filled, history_holes, {"data_type": "wallet_journal", "from_ms": 6, "until_ms": until_ms})
    assert prune(filled.database, HISTORY) == 2
    assert kept(filled, wallet_journal.c.date_ms) == [NEW, NEW]
    assert kept(filled, wallet_transactions.c.transaction_id) == [2]
    assert kept(filled, history_corrections.c.row_id) == [2]
    assert kept(filled, history_holes.c.until_ms) == [CUTOFF + 1]
    assert covered(filled) == {
        (1, "wallet_journal"): (CUTOFF, NEW + 5),
        (1, "wallet_transactions"): (7, 7),
        (2, "wallet_journal"): (5, NEW + 5),
    }


def test_what_is_not_over_is_kept_and_events_go_with_their_rows(filled: Store) -> None:
    orders = {1: ("open", OLD), 2: ("filled", OLD), 3: ("filled", NEW), 4: ("expired", OLD)}
    jobs = {1: ("active", OLD), 2: ("delivered", OLD), 3: ("delivered", NEW), 4: ("cancelled", OLD), 5: ("ready", OLD)}
    for number, (state, as_of_ms) in orders.items():
        put(filled, market_orders, {"order_id": number, "state": state, "as_of_ms": as_of_ms, "is_buy_order": True})
        put(filled, order_events, {"order_id": number, "at_ms": OLD, "inferred": False})
    for number, (status, as_of_ms) in jobs.items():
        put(filled, industry_jobs, {"job_id": number, "status": status, "as_of_ms": as_of_ms})
        put(filled, industry_job_events, {"job_id": number, "at_ms": OLD})
    assert prune(filled.database, HISTORY) == 4
    assert kept(filled, market_orders.c.order_id) == kept(filled, order_events.c.order_id) == [1, 3]
    assert kept(filled, industry_jobs.c.job_id) == kept(filled, industry_job_events.c.job_id) == [1, 3, 5]


def test_the_present_skills_are_kept_however_old_they_are(filled: Store) -> None:
    put(filled, skill_totals, {"at_ms": 1}, {"at_ms": 2}, {"character_id": 2, "at_ms": 3})
    put(filled, skill_events, {"at_ms": OLD}, {"at_ms": NEW})
    put(filled, set_aside_rows, {"digest": "a", "last_seen_ms": OLD}, {"digest": "b", "last_seen_ms": NEW})
    assert prune(filled.database, HISTORY) == 3
    assert kept(filled, skill_totals.c.at_ms) == [2, 3]
    assert kept(filled, skill_events.c.at_ms) == [NEW]
    assert kept(filled, set_aside_rows.c.digest) == ["b"]


def test_a_count_deletes_nothing_and_says_what_would_be_kept(filled: Store) -> None:
    put(filled, wallet_journal, *({"id": number, "date_ms": OLD - 5 + number} for number in range(10)))
    counts = {each.table: (each.rows, each.oldest_kept_ms) for each in count_old(filled.database, HISTORY)}
    assert counts.pop("wallet_journal") == (6, NEW)
    assert set(counts.values()) == {(0, None)}
    assert len(kept(filled, wallet_journal.c.id)) == 10
    assert count_old(filled.database, Cutoffs(None, None)) == []
    assert prune(filled.database, Cutoffs(None, None)) == 0


def test_it_stops_in_time_and_goes_on(filled: Store) -> None:
    rows = [{**_needed(wallet_journal), "character_id": 1, "id": number, "date_ms": OLD} for number in range(2_500)]
    with filled.database.write() as connection:
        upsert(connection, wallet_journal, rows)
    steps: list[int] = []
    assert prune(filled.database, HISTORY, until_mono=0) == 0
    assert prune(filled.database, HISTORY, report=lambda _table, count: steps.append(count)) == 2_500
    assert steps == [1_000, 1_000, 500]


def test_killed_between_two_steps_the_history_is_what_it_says(filled: Store) -> None:
    rows = [{**_needed(wallet_journal), "character_id": 1, "id": number, "date_ms": OLD} for number in range(1_200)]
    with filled.database.write() as connection:
        upsert(connection, wallet_journal, rows)
    coverage = {"complete_since_ms": 5, "complete_until_ms": NEW + 5, "complete_read_ms": NEW + 5}
    put(filled, history_coverage, {"data_type": "wallet_journal", **coverage})
    url = filled.database.url.render_as_string(hide_password=False)
    killed = subprocess.run([sys.executable, "-c", KILLED, url], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(kept(filled, wallet_journal.c.id)) == 200
    assert covered(filled) == {(1, "wallet_journal"): (CUTOFF, NEW + 5)}


def test_an_old_document_goes_with_its_validators_and_a_refreshed_one_stays(filled: Store, clock: ManualClock) -> None:
    def save(route: str, as_of_ms: int) -> None:
        response = EsiResponse(200, False, [route], '"a"', "then", as_of_ms + 5, 1, None)
        filled.documents.save(1, route, response, as_of_ms=as_of_ms, next_due_ms=0)

    for route, as_of_ms in (("/old", OLD), ("/new", NEW), ("/renewed", OLD)):
        save(route, as_of_ms)
    renewed = EsiResponse(304, True, None, None, None, 0, 1, None)
    filled.documents.renew(1, "/renewed", renewed, as_of_ms=NEW, next_due_ms=0)
    # Of a character that was sold.
    with filled.database.write() as connection:
        archive = {"character_id": -1, "user_id": 1, "name": "n", "owner_hash": "o", "scopes": [], "state": "sold"}
        connection.execute(sa.insert(schema.characters), [archive | {"state_changed_ms": OLD, "created_ms": 1}])
    put(filled, schema.documents, {"character_id": -1, "route": "/sold", "body_json": b"1", "pages": 1})
    assert [(each.rows, each.oldest_kept_ms) for each in count_old(filled.database, Cutoffs(CUTOFF, None))] == [
        (2, NEW)
    ]
    assert prune(filled.database, Cutoffs(CUTOFF, None)) == 2
    assert kept(filled, schema.documents.c.route) == ["/new", "/renewed"]
    states = {route: filled.documents.state(1, route) for route in ("/old", "/new", "/renewed")}
    assert {route: state and (state.etag, state.pages) for route, state in states.items()} == {
        "/old": (None, None),
        "/new": ('"a"', 1),
        "/renewed": ('"a"', 1),
    }


def test_every_table_of_the_history_is_pruned_or_left_on_purpose() -> None:
    with_times = {
        table.name for table in metadata.sorted_tables if any(column.name.endswith("_ms") for column in table.c)
    }
    pruned = {"wallet_journal", "wallet_transactions", "market_orders", "order_events", "industry_jobs"}
    pruned |= {"industry_job_events", "skill_events", "skill_totals", "set_aside_rows"}
    moved = {"history_corrections", "history_coverage", "history_holes"}
    present = {"characters", "logins", "sync_state", "listing_pages", "skill_levels"}
    bounded_elsewhere = {"audit_log", "admin_sessions", "admin_revoked_tokens"}
    assert with_times == pruned | moved | present | bounded_elsewhere
