"""`nomad history prune`: shows what is old, and deletes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.store.database import Database
from nomad_actors.store.schema import audit_log, characters, wallet_journal

from .conftest import Nomad

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def entries(database: Database) -> None:
    """Five journal entries, of which two are older than a hundred days."""
    now_ms = int(time.time() * 1000)
    row = {"character_id": 1, "ref_type": "r", "description": "d"}
    with database.write() as connection:
        character = {"character_id": 1, "user_id": 1, "name": "n", "owner_hash": "o", "scopes": [], "state": "active"}
        connection.execute(sa.insert(characters), [character | {"state_changed_ms": 1, "created_ms": 1}])
        for number, days in enumerate((0, 50, 99, 101, 500)):
            connection.execute(sa.insert(wallet_journal), [{**row, "id": number, "date_ms": now_ms - days * DAY_MS}])


def kept(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(wallet_journal)) or 0


def test_nothing_is_old_unless_it_is_set(nomad: Nomad, database: Database) -> None:
    result = nomad("history", "prune", "--yes")
    assert (result.exit_code, "Everything is kept for ever" in result.stdout) == (0, True)
    assert kept(database) == 5


def test_a_dry_run_shows_each_table_and_deletes_nothing(
    nomad: Nomad, nomad_json: Callable[..., Any], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOMAD_KEEP_HISTORY_DAYS", "100")
    result = nomad("history", "prune", "--dry-run")
    assert result.stdout.startswith("Dry run: 2 rows would be deleted.\nTABLE")
    assert nomad_json("history", "prune", "--dry-run")["tables"][0]["rows"] == 2
    assert kept(database) == 5
    row = {"character_id": 1, "ref_type": "r", "description": "d", "date_ms": 1}
    with database.write() as connection:
        connection.execute(sa.insert(wallet_journal), [row | {"id": number} for number in range(1_000, 2_000)])
    lines = nomad("history", "prune", "--dry-run").stdout.splitlines()
    assert lines[0] == "Dry run: 1,002 rows would be deleted."
    assert lines[2].split()[:2] == ["wallet_journal", "1,002"]
    asked = nomad("history", "prune").stderr
    assert "1,002 rows" in asked, asked
    assert nomad("history", "prune", "--yes").stdout == "1,002 rows deleted.\n"


def test_it_deletes_after_a_confirmation_and_is_audited(
    nomad: Nomad, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOMAD_KEEP_HISTORY_DAYS", "100")
    assert nomad("history", "prune").exit_code == 2
    assert kept(database) == 5
    result = nomad("history", "prune", "--yes")
    assert (result.exit_code, result.stdout) == (0, "2 rows deleted.\n")
    assert kept(database) == 3
    with database.read() as connection:
        assert connection.execute(sa.select(audit_log.c.path, audit_log.c.status)).all() == [
            ("/admin/jobs/history", 200)
        ]


@pytest.mark.parametrize("days", ["99", "0", "a year"])
def test_a_time_that_esi_still_shows_is_refused(nomad: Nomad, monkeypatch: pytest.MonkeyPatch, days: str) -> None:
    monkeypatch.setenv("NOMAD_KEEP_HISTORY_DAYS", days)
    result = nomad("history", "prune", "--dry-run")
    assert (result.exit_code, "allowed: days from 100 to 36500" in result.stderr) == (2, True)
