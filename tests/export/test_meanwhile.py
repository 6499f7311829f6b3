"""What changes while an export is being written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import SystemClock
from nomad_actors.data import Data
from nomad_actors.errors import WrongState
from nomad_actors.export import Export
from nomad_actors.export.part_file import part_file
from nomad_actors.store import Store, TokenCipher
from nomad_actors.store.schema import wallet_journal

CHARACTER, ROWS, BEHIND = 90000001, 30, 3


def entry(number: int) -> dict[str, Any]:
    return {"character_id": CHARACTER, "id": number, "date_ms": 1_000 * number, "ref_type": "x", "description": "d"}


def test_rows_that_come_behind_what_was_written_are_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomad_actors.export.exporter.BATCH_ROWS", 10)
    clock = SystemClock()
    store = Store(f"sqlite:///{tmp_path}/nomad.db", cipher=TokenCipher(["k" * 32]), clock=clock)
    store.logins.save(character_id=CHARACTER, user_id=7, name="A", owner_hash="o", scopes=[], refresh_token="r")
    with store.database.write() as connection:
        connection.execute(sa.insert(wallet_journal), [entry(n) for n in range(1, ROWS) if n != BEHIND])
    filled = False

    def fill_once(rows: int, _total: int | None) -> None:
        nonlocal filled
        if rows and not filled:
            filled = True
            with store.database.write() as connection:
                connection.execute(sa.insert(wallet_journal), entry(BEHIND))

    target = tmp_path / "journal.csv"
    written = Export(Data(store, clock), store.database, CHARACTER, "journal", "csv").to_file(target, fill_once)
    lines = target.read_text().splitlines()
    at = lines[0].split(",").index("id")
    assert [int(line.split(",")[at]) for line in lines[1:]] == list(range(1, ROWS))
    assert (written.rows, written.continued) == (ROWS - 1, 0)
    store.close()


def test_a_part_file_that_became_a_target_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "journal.csv"

    def finished_by_another(_file: Any, _flags: int) -> None:
        target.with_name("journal.csv.part").rename(target)

    monkeypatch.setattr("fcntl.flock", finished_by_another)
    with pytest.raises(WrongState, match="has just finished"), part_file(target):
        pass
