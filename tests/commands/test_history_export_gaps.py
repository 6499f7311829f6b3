"""`nomad history export` says on standard error where rows may be missing."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import SystemClock
from nomad_actors.data import Data
from nomad_actors.errors import UnknownCharacter
from nomad_actors.export import Export
from nomad_actors.store import Store, schema

from .conftest import Nomad

CHARACTER = 95465499
#: 2026-10-01T00:00:00Z, and a row each hour.
BEGIN_MS, HOUR_MS = 1_790_812_800_000, 3_600_000
#: Since when the journal is complete.
BEGIN = ("--from", "2026-10-01")


@pytest.fixture(autouse=True)
def collected(store: Store) -> None:
    """A day of journal, complete since its begin until now."""
    store.logins.save(character_id=CHARACTER, user_id=7, name="Ada", owner_hash="o", scopes=["s"], refresh_token="r")
    entry: dict[str, Any] = {"ref_type": "player_donation", "description": "", "amount": Decimal(1)}
    entry |= {"character_id": CHARACTER, "balance": Decimal(1)}
    covered = {"complete_since_ms": BEGIN_MS, "complete_until_ms": SystemClock().now_ms()}
    of = {"character_id": CHARACTER, "data_type": "wallet_journal", "complete_read_ms": BEGIN_MS}
    with store.database.write() as connection:
        rows = [entry | {"id": number, "date_ms": BEGIN_MS + number * HOUR_MS} for number in range(24)]
        connection.execute(sa.insert(schema.wallet_journal), rows)
        connection.execute(sa.insert(schema.history_coverage).values(of | covered))


def _arguments(format_: str, kind: str = "journal") -> list[str]:
    return ["history", "export", str(CHARACTER), "--type", kind, "--format", format_]


def test_rows_that_may_be_missing_are_a_warning(store: Store, nomad: Nomad, tmp_path: Path) -> None:
    inside = ["--from", "2026-10-02", "--to", "2026-10-03"]
    for options in (inside, BEGIN):
        assert nomad(*_arguments("csv"), *options).stderr == ""
    for options in (["--from", "2026-09-01"], []):
        earlier = nomad(*_arguments("csv"), *options).stderr
        assert "rows may be missing: it is complete only since 2026-10-01 00:00:00Z; see: nomad history" in earlier
    assert "the history was never read completely" in nomad(*_arguments("csv", "orders")).stderr
    with store.database.write() as connection:
        hole = {"from_ms": BEGIN_MS + 30 * HOUR_MS, "until_ms": BEGIN_MS + 31 * HOUR_MS, "cause": "retention"}
        of = {"character_id": CHARACTER, "data_type": "wallet_journal", "details": "d", "found_ms": BEGIN_MS}
        connection.execute(sa.insert(schema.history_holes).values(of | hole))
    assert "rows may be missing: 1 hole in it" in nomad(*_arguments("csv"), *inside).stderr
    both = nomad(*_arguments("csv")).stderr
    assert "missing: 1 hole in it, and it is complete only since 2026-10-01 00:00:00Z; see" in both
    result = nomad(*_arguments("csv"), "--output", str(tmp_path / "j.csv"), "--json")
    assert json.loads(result.stdout) == {"file": str(tmp_path / "j.csv"), "rows": 24, "continued": 0}


@pytest.mark.parametrize(
    ("age_ms", "options", "warns"),
    [
        (HOUR_MS, [], False),
        (23 * HOUR_MS, ["--to", "2099-01-01"], False),
        (25 * HOUR_MS, [], True),
        (25 * HOUR_MS, ["--to", "2099-01-01"], True),
        (20 * 24 * HOUR_MS, ["--to", "2026-10-02"], False),
    ],
)
def test_time_that_nobody_has_read_is_a_warning(
    store: Store, nomad: Nomad, age_ms: int, options: list[str], warns: bool
) -> None:
    until_ms = SystemClock().now_ms() - age_ms
    with store.database.write() as connection:
        connection.execute(sa.update(schema.history_coverage).values(complete_until_ms=until_ms))
    until = datetime.fromtimestamp(until_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    found = nomad(*_arguments("csv"), *BEGIN, *options).stderr
    assert (f"rows may be missing: it is complete only until {until}; see: nomad history" in found) == warns
    assert warns or found == ""


def test_a_limit_in_the_past_is_exact(store: Store, nomad: Nomad) -> None:
    until_ms = BEGIN_MS + 48 * HOUR_MS
    with store.database.write() as connection:
        connection.execute(sa.update(schema.history_coverage).values(complete_until_ms=until_ms))
    assert nomad(*_arguments("csv"), *BEGIN, "--to", "2026-10-03").stderr == ""
    later = nomad(*_arguments("csv"), *BEGIN, "--to", "2026-10-03T00:00:01Z").stderr
    assert "it is complete only until 2026-10-03 00:00:00Z" in later


@pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet"])
def test_an_unknown_character_leaves_nothing_on_standard_output(store: Store, nomad: Nomad, format_: str) -> None:
    refused = nomad("history", "export", "5", "--type", "journal", "--format", format_)
    assert (refused.exit_code, refused.stdout, "never logged in" in refused.stderr) == (3, "", True)
    output, export = io.BytesIO(), Export(Data(store, SystemClock()), store.database, 5, "journal", format_)
    with pytest.raises(UnknownCharacter):
        export.to_stream(output, lambda *_: None)
    assert output.getvalue() == b""
