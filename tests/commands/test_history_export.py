"""`nomad history export`: exact, for programs of others, and continued after it was killed at any moment."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from nomad_actors import exact_json
from nomad_actors.clock import SystemClock
from nomad_actors.store import Snapshot, Store, TokenCipher, history, schema
from nomad_actors.store.history import INDUSTRY_JOBS, ORDERS, SKILLS, TRANSACTIONS
from tests.support.databases import put_database
from tests.support.processes import ROOT, environ_for

from .conftest import KEY, Nomad
from .test_program import COMMAND
from .test_streams import run

CHARACTER, OTHER = 95465499, 95465500
#: 2026-10-01T00:00:00Z, and a row each hour.
BEGIN_MS, HOUR_MS, ROWS = 1_790_812_800_000, 3_600_000, 650
#: A text that CSV must quote, and that is not ASCII.
REASON = 'a "gift",\nälter — 💰'


@pytest.fixture(params=["sqlite", "postgresql"])
def environ(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """The environment of the command, on each kind of database."""
    put_database(tmp_path / "nomad.db")
    environ = environ_for(tmp_path, redis_url)
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        postgres.empty()
        environ["DATABASE_URL"] = postgres.url
    return environ


@pytest.fixture
def store(environ: dict[str, str]) -> Iterator[Store]:
    """The command's store with 650 hours of journal, complete since their begin until now."""
    store = Store(environ["DATABASE_URL"], cipher=TokenCipher([KEY]), clock=SystemClock())
    for character_id in (CHARACTER, OTHER):
        store.logins.save(
            character_id=character_id, user_id=7, name="Ada", owner_hash="o", scopes=["s"], refresh_token="r"
        )
    with store.database.write() as connection:
        connection.execute(sa.insert(schema.wallet_journal), [_entry(number) for number in range(ROWS)])
        connection.execute(sa.insert(schema.wallet_journal), [_entry(1) | {"character_id": OTHER}])
        span = {"complete_since_ms": BEGIN_MS, "complete_until_ms": SystemClock().now_ms()}
        of = {"character_id": CHARACTER, "data_type": "wallet_journal", "complete_read_ms": BEGIN_MS}
        connection.execute(sa.insert(schema.history_coverage).values(of | span))
    yield store
    store.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty directory for exports."""
    directory = tmp_path / "exports"
    directory.mkdir()
    return directory


@pytest.fixture
def export(nomad: Nomad, store: Store, directory: Path) -> Callable[..., Path]:
    """`export("csv", "--from", "2026-10-02")`: export the journal to a file in this process."""

    def write(format_: str, *options: str, kind: str = "journal") -> Path:
        path = directory / f"{kind}-{len(list(directory.iterdir()))}.{format_}"
        result = nomad(*_arguments(format_, kind), "--output", str(path), *options)
        assert (result.exit_code, sorted(directory.glob("*.part*"))) == (0, []), result.output
        return path

    return write


#: Since when the fixture's journal is complete.
BEGIN = ("--from", "2026-10-01")


def _arguments(format_: str, kind: str = "journal") -> list[str]:
    return ["history", "export", str(CHARACTER), "--type", kind, "--format", format_]


def _entry(number: int) -> dict[str, Any]:
    return {
        "character_id": CHARACTER,
        "id": 2**53 + number,
        "date_ms": BEGIN_MS + number * HOUR_MS,
        "ref_type": "player_donation",
        "description": "",
        "amount": Decimal("-0.01"),
        # A double has no hundredths here.
        "balance": Decimal("90071992547409.93") - number * Decimal("0.01"),
        "reason": REASON if number % 2 else None,
        "extra": {"new": [Decimal("1.10")]} if number == 3 else None,
    }


def _signalled(environ: dict[str, str], name: str, at: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.commands.signalled", name, str(at), *arguments]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("environ", "format_"),
    [("sqlite", "csv"), ("sqlite", "ndjson"), ("sqlite", "parquet"), ("postgresql", "csv")],
    indirect=["environ"],
)
def test_killed_at_any_write_it_continues_to_the_same_file(
    environ: dict[str, str], export: Callable[..., Path], directory: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    monkeypatch.setattr("nomad_actors.export.exporter.BATCH_ROWS", 100)
    uninterrupted, killed = export(format_), directory / "killed"
    result = _signalled(environ, "SIGKILL", 0, *_arguments(format_), "--output", str(killed))
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.splitlines()[-1]) >= 3, "it was hardly ever killed"
    assert re.search(r"650 rows of journal of character \d+ \((650|[1-6]00) had been written before\)\.", result.stdout)
    assert killed.read_bytes() == uninterrupted.read_bytes()
    assert sorted(directory.iterdir()) == [uninterrupted, killed]
    assert killed.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_a_history_that_changed_meanwhile_is_exported_anew(
    environ: dict[str, str], store: Store, nomad: Nomad, export: Callable[..., Path], directory: Path
) -> None:
    killed = directory / "killed"
    arguments = [*_arguments("csv"), "--output", str(killed)]
    changes = (
        # A hole was filled, retention removed a row, ESI corrected one.
        sa.insert(schema.wallet_journal).values(_entry(5) | {"id": 1}),
        sa.delete(schema.wallet_journal).where(schema.wallet_journal.c.id == 2**53),
        sa.insert(schema.history_corrections).values(
            character_id=CHARACTER, data_type="wallet_journal", row_id=1, field="amount", corrected_ms=BEGIN_MS
        ),
    )
    for change in changes:
        assert _signalled(environ, "SIGKILL", 9, *arguments).returncode == 137
        assert json.loads((directory / "killed.part.json").read_text())["rows"] == 100
        with store.database.write() as connection:
            connection.execute(change)
        result = nomad(*arguments)
        assert (result.exit_code, "written before" in result.stdout) == (0, False), result.stderr
        assert killed.read_bytes() == export("csv").read_bytes()
        killed.unlink()


def test_numbers_times_and_texts_are_exact_in_every_format(export: Callable[..., Path]) -> None:
    expected = [_entry(number) for number in range(ROWS)]
    with export("csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["id"]), row["balance"], row["reason"]) for row in rows] == [
        (each["id"], str(each["balance"]), each["reason"] or "") for each in expected
    ]
    assert (rows[1]["date"], rows[3]["extra"]) == ("2026-10-01T01:00:00.000Z", '{"new":[1.10]}')
    objects = [exact_json.loads(line) for line in export("ndjson").read_text().splitlines()]
    assert [(each["id"], each["balance"], each["reason"]) for each in objects] == [
        (each["id"], each["balance"], each["reason"]) for each in expected
    ]
    assert (objects[1]["date"], objects[3]["extra"]) == ("2026-10-01T01:00:00.000Z", {"new": [Decimal("1.10")]})
    table = pq.read_table(export("parquet"))
    types = {name: table.schema.field(name).type for name in ("id", "balance", "date", "reason", "extra")}
    text, time = pa.string(), pa.timestamp("ms", tz="UTC")
    assert types == {
        "id": pa.int64(),
        "balance": pa.decimal128(20, 2),
        "date": time,
        "reason": text,
        "extra": text,
    }
    assert table["balance"].to_pylist() == [each["balance"] for each in expected]
    assert table["date"].to_pylist() == [datetime.fromtimestamp(each["date_ms"] / 1000, UTC) for each in expected]
    assert table["extra"].to_pylist()[3] == '{"new":[1.10]}'


def test_from_is_included_and_to_is_not(export: Callable[..., Path], nomad: Nomad) -> None:
    def ids(*options: str) -> list[int]:
        return [json.loads(line)["id"] - 2**53 for line in export("ndjson", *options).read_text().splitlines()]

    assert ids("--from", "2026-10-02", "--to", "2026-10-03") == list(range(24, 48))
    assert ids("--from", "2026-10-01T02:00:00+02:00", "--to", "2026-10-01T00:00:00.001Z") == [0]
    assert ids("--to", "2026-10-01") == []
    for options, message in (
        (["--from", "yesterday"], "--from 'yesterday' is not a time"),
        (["--from", "2026-10-03", "--to", "2026-10-02"], "--from 2026-10-03 is after --to 2026-10-02"),
    ):
        refused = nomad(*_arguments("csv"), *options)
        assert (refused.exit_code, refused.stdout, message in refused.stderr) == (2, "", True), refused.output


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_every_type_is_exported_in_every_format(store: Store, export: Callable[..., Path], nomad: Nomad) -> None:
    times = {"start_date": "2026-10-01T00:00:00Z", "end_date": "2026-10-02T00:00:00Z"}
    ids = ("activity_id", "blueprint_id", "blueprint_location_id", "blueprint_type_id", "duration", "facility_id")
    job = dict.fromkeys((*ids, "installer_id", "output_location_id", "runs", "station_id", "job_id"), 1) | times
    order = {"order_id": 1, "duration": 90, "is_corporation": False, "issued": times["start_date"], "location_id": 1}
    order |= {"price": Decimal("1.5"), "range": "region", "region_id": 1, "type_id": 34, "volume_total": 9}
    trade = {"transaction_id": 1, "date": times["start_date"], "client_id": 1, "is_buy": True, "is_personal": False}
    trade |= {"journal_ref_id": 1, "location_id": 1, "quantity": 1, "type_id": 34, "unit_price": Decimal("1.5")}
    skill = {"skill_id": 1, "active_skill_level": 1, "trained_skill_level": 1}
    for as_of_ms in (BEGIN_MS, BEGIN_MS + HOUR_MS):
        bodies: dict[str, Any] = {
            TRANSACTIONS: [trade],
            ORDERS: [order | {"volume_remain": 9 if as_of_ms == BEGIN_MS else 5}],
            INDUSTRY_JOBS: [job | {"status": "active" if as_of_ms == BEGIN_MS else "paused", "probability": 0.5}],
            SKILLS: {"skills": [skill | {"skillpoints_in_skill": as_of_ms % 1_000_000}]},
        }
        with store.database.write() as connection:
            for route, body in bodies.items():
                history.absorb(connection, Snapshot(CHARACTER, route, body, as_of_ms))
    counts = {"transactions": 1, "orders": 1, "order-events": 2, "industry-jobs": 1, "industry-job-events": 2}
    for kind, count in {**counts, "skills": 1, "skill-history": 1}.items():
        table = pq.read_table(export("parquet", kind=kind))
        lines = [json.loads(line) for line in export("ndjson", kind=kind).read_text().splitlines()]
        with export("csv", kind=kind).open(newline="") as file:
            records = list(csv.DictReader(file))
        assert (table.num_rows, len(lines), len(records)) == (count, count, count), kind
        assert table.column_names == [*lines[0]] == [*records[0]]
        assert all(each["character_id"] == CHARACTER for each in lines)
    refused = nomad(*_arguments("csv", "skills"), "--from", "2026-10-01")
    assert (refused.exit_code, "export skill-history" in refused.stderr) == (2, True)


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_nothing_is_replaced_without_force(
    environ: dict[str, str], export: Callable[..., Path], nomad: Nomad, directory: Path
) -> None:
    arguments = [*_arguments("csv"), "--output", str(path := export("csv"))]
    path.write_text("precious")
    refused = nomad(*arguments)
    assert (refused.exit_code, "exists: name another file, or replace it with --force" in refused.stderr) == (4, True)
    assert path.read_text() == "precious"
    assert nomad(*arguments, "--force").exit_code == 0
    assert path.read_text() != "precious"
    # A part file of somebody else, and of another export.
    other = directory / "other"
    part = directory / "other.part"
    part.write_text("precious")
    refused = nomad(*_arguments("csv"), "--output", str(other))
    assert (refused.exit_code, "was not written by an export" in refused.stderr) == (4, True)
    assert part.read_text() == "precious"
    part.unlink()
    arguments = [*_arguments("csv"), "--output", str(other)]
    assert _signalled(environ, "SIGKILL", 9, *arguments).returncode == 137
    refused = nomad(*arguments, "--from", "2026-10-02")
    assert (refused.exit_code, "is of another export" in refused.stderr) == (4, True)
    assert nomad(*arguments, "--from", "2026-10-02", "--force").exit_code == 0
    assert len(other.read_text().splitlines()) == len(path.read_text().splitlines()) - 24 * 2 + 12


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_ctrl_c_and_a_full_disk_leave_what_can_be_continued(
    environ: dict[str, str], nomad: Nomad, export: Callable[..., Path], directory: Path
) -> None:
    uninterrupted, path = export("csv"), directory / "stopped"
    arguments = [*_arguments("csv"), "--output", str(path)]
    stopped = _signalled(environ, "SIGINT", 9, *arguments)
    assert (stopped.returncode, path.exists()) == (130, False)
    assert stopped.stderr == (
        f"nomad: interrupted: 100 rows are in {path}.part: repeat the command to continue, or delete it\n"
    )
    # bash counts in kB.
    full = run(environ, ROOT, f"ulimit -f 64; exec nomad {' '.join(arguments)}")
    assert (full.returncode, path.exists()) == (1, False)
    assert "cannot be written: File too large" in full.stderr
    assert "(100 had been written before)" in nomad(*arguments).stdout
    assert path.read_bytes() == uninterrupted.read_bytes()


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_standard_output_may_be_a_pipe_that_ends_early_or_is_full(
    environ: dict[str, str], store: Store, tmp_path: Path
) -> None:
    line = f"nomad {' '.join([*_arguments('parquet'), *BEGIN])}"
    result = run(environ, tmp_path, f"{line} > out.parquet")
    assert (result.returncode, result.stderr) == (0, "")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == ROWS
    for format_ in ("csv", "parquet"):
        line = f"nomad {' '.join([*_arguments(format_), *BEGIN])}"
        assert run(environ, tmp_path, f"{line} | head -c 3").stderr == ""
        full = run(environ, tmp_path, f"{line} > /dev/full")
        assert (full.returncode, full.stderr) == (
            1,
            "nomad: standard output cannot be written: No space left on device\n",
        )
    directory = run(environ, tmp_path, f"nomad {' '.join(_arguments('csv'))} --output /nonexistent/journal.csv")
    assert (directory.returncode, directory.stdout) == (1, "")
    assert "/nonexistent/journal.csv.part cannot be written: No such file or directory" in directory.stderr


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_only_a_terminal_gets_a_progress_bar(environ: dict[str, str], store: Store, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, *_arguments("csv"), *BEGIN, "--output", str(tmp_path / "journal.csv")]
    with subprocess.Popen(command, env={**environ, "COLUMNS": "100", "TERM": "xterm"}, cwd=tmp_path, stderr=theirs):
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:
            pass  # Linux reports the end of a terminal this way.
    os.close(ours)
    assert f"journal of character {CHARACTER}" in shown.decode()
    assert f"{ROWS}/{ROWS}" in shown.decode()
    piped = subprocess.run([*command, "--force"], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert piped.stderr == ""
    assert piped.stdout == f"{tmp_path}/journal.csv: 650 rows of journal of character {CHARACTER}.\n"


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_wrong_arguments_are_named_before_anything_is_written(
    environ: dict[str, str], store: Store, nomad: Nomad, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = ["--output", str(directory / "x")]
    unknown = nomad("history", "export", "5", "--type", "journal", "--format", "csv", *output)
    assert (unknown.exit_code, "character 5 never logged in" in unknown.stderr) == (3, True)
    for arguments, message in (
        (_arguments("csv", "journl"), "--type 'journl' does not exist (allowed: journal, transactions, "),
        (_arguments("xlsx"), "--format 'xlsx' does not exist (allowed: csv, ndjson, parquet)"),
    ):
        refused = nomad(*arguments, *output)
        assert (refused.exit_code, message in refused.stderr) == (2, True), refused.output
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "nomad_actors.export.parquet", raising=False)
    refused = nomad(*_arguments("parquet"), *output)
    assert (refused.exit_code, "pip install nomad-actors[parquet]" in refused.stderr) == (1, True)
    assert list(directory.iterdir()) == []
