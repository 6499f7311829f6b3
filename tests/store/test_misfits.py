"""A row that another program changed is left out or shown as far as it is readable, and affects no other row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from nomad_actors.store import AdminSession, AuditedRequest, Store, schema
from nomad_actors.store.invalid_rows import MAX_MS, READ_TOGETHER, invalid_rows
from tests.support.databases import put_database

START_MS = 1_793_491_200_000

ROUTE = "/characters/{character_id}/wallet/"
#: SQL values that no column of ours may contain, except those for text.
RUBBISH = ["'rubbish'", "x'ff00'", "cast(x'ff' as text)", "9e999", "'[1'", "'[[1]]'", str(2**63 - 1), str(-(2**63))]

REQUEST = AuditedRequest(
    request_id="r", actor="ada", role="operator", peer="p", source="s", method="POST", path="/admin/jobs/x"
)
SESSION = AdminSession(id_hash="h1", token_name="ada", token_digest="d", role="operator", expires_ms=START_MS + 1000)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Only SQLite: PostgreSQL rejects values that do not fit."""
    return put_database(tmp_path / "nomad.db")


@pytest.fixture
def by_hand(store: Store, save_login: Callable[..., None], tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Two characters with a route each, two sessions and two changes, and a way to change them."""
    for character_id in (1, 2):
        save_login(character_id)
        store.documents.save_requested(character_id, ROUTE, due_ms=START_MS)
        store.audit.asked(REQUEST)
    store.admin_sessions.begin(SESSION)
    store.admin_sessions.begin(replace(SESSION, id_hash="h2"))
    connection = sqlite3.connect(tmp_path / "nomad.db", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    yield connection
    connection.close()


#: Keys of the second row of each table.
KEYS = {
    schema.characters: "character_id = 2",
    schema.logins: "character_id = 2",
    schema.sync_state: "character_id = 2",
    schema.admin_sessions: "id_hash = 'h2'",
    schema.audit_log: "entry_id = 2",
}


def test_every_table_that_is_read_together_is_tested() -> None:
    assert set(KEYS) == set(READ_TOGETHER)


@pytest.mark.parametrize("table", READ_TOGETHER)
def test_an_invalid_value_in_any_column_affects_no_other_row(
    store: Store, by_hand: sqlite3.Connection, table: sa.Table
) -> None:
    name, where = table.name, KEYS[table]
    keys = {column.name for column in table.primary_key}
    tested = 0
    for column, kind in ((each.name, each.type) for each in table.c if each.name not in keys):
        (before,) = by_hand.execute(f"SELECT {column} FROM {name} WHERE {where}").fetchone()
        for rubbish in RUBBISH:
            try:
                by_hand.execute(f"UPDATE {name} SET {column} = {rubbish} WHERE {where}")
            except sqlite3.IntegrityError:
                # Rejected at the write.
                continue
            tested += 1
            case = f"{name}.{column} = {rubbish}"
            assert 1 in [each.character_id for each in store.logins.characters()], case
            assert 1 in [
                each.character_id
                for each in store.documents.overdue(
                    due_before_ms=MAX_MS, subscribed_since_ms=0, queued_before_ms=0, limit=9
                )
            ], case
            assert all(isinstance(state, str) for state in store.logins.counts()), case
            assert all(at_ms <= MAX_MS for at_ms in store.documents.oldest_synced_ms().values()), case
            assert store.admin_sessions.find("h1") == SESSION, case
            found, _ = store.audit.read(9)
            assert [entry.id for entry in found] == ["2", "1"], case
            assert {type(found[0].at_ms), type(found[0].status), type(found[0].path)} <= {int, str, type(None)}, case
            named = invalid_rows(store.database)
            (kept,) = by_hand.execute(f"SELECT typeof({column}) FROM {name} WHERE {where}").fetchone()
            if kept in ("blob", "real") or (kept == "text" and isinstance(kind, sa.Integer | sa.Boolean)):
                assert [each.partition(" ")[0] for each in named] == [name], case
            by_hand.execute(f"UPDATE {name} SET {column} = ? WHERE {where}", (before,))
    assert tested > 30
    assert invalid_rows(store.database) == []


def test_a_session_with_an_unreadable_end_is_rejected(store: Store, by_hand: sqlite3.Connection) -> None:
    # For SQLite, any text is later than any time.
    by_hand.execute("UPDATE admin_sessions SET expires_ms = 'never' WHERE id_hash = 'h2'")
    assert store.admin_sessions.find("h2") is None


def test_an_entry_is_shown_with_its_readable_values(store: Store, by_hand: sqlite3.Connection) -> None:
    by_hand.execute("UPDATE audit_log SET at_ms = 'noon', path = x'2f61ff' WHERE entry_id = 2")
    (entry, other), _ = store.audit.read(9)
    assert (entry.at_ms, entry.path, entry.actor) == (0, "/a\N{REPLACEMENT CHARACTER}", "ada")
    assert (entry.error or "").startswith("another program changed this row")
    assert other.error is None


def test_the_doctor_names_the_rows(store: Store, by_hand: sqlite3.Connection) -> None:
    by_hand.execute("UPDATE characters SET scopes = '[1' WHERE character_id = 2")
    by_hand.execute("UPDATE sync_state SET next_due_ms = 'noon'")
    found = invalid_rows(store.database)
    assert found == [
        "characters (character_id 2)",
        f"sync_state (character_id 1, route {ROUTE}; character_id 2, route {ROUTE})",
    ]
