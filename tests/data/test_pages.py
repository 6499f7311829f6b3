"""Long lists: the plan of a page uses an index and sorts nothing, and reading 200,000 rows takes constant memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.data import Data, listings
from nomad_actors.data.listings import Listing, Query
from nomad_actors.store import Store, history
from nomad_actors.store.schema import metadata

from .conftest import CHARACTER, entry

LISTINGS = [found for found in vars(listings).values() if isinstance(found, Listing)]
ROWS = 200_000
_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})",
    "postgresql": "WITH numbers(n) AS (SELECT generate_series(1::bigint, {rows}))",
}
#: Four entries at each time, as many entries of a real journal are.
_JOURNAL = """
INSERT INTO wallet_journal (character_id, id, date_ms, ref_type, description, amount, balance)
{numbers} SELECT {character}, n, 1700000000000 + n / 4 * 1000, 'bounty_prizes', 'a description of usual length', 100, n
FROM numbers
"""
_READER = """
import resource, sys
from nomad_actors import data
reader, character = data.connect(database_url=sys.argv[1]), int(sys.argv[2])
list(reader.journal(character, limit=4_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in reader.journal(character))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.fixture
def long_journal(store: Store) -> Store:
    """A database with a journal of 200,000 rows."""
    numbers = _NUMBERS[store.database.engine.dialect.name].format(rows=ROWS)
    with store.database.write() as connection:
        connection.execute(sa.text(_JOURNAL.format(numbers=numbers, character=CHARACTER)))
    with store.database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")
    return store


def plan(store: Store, query: sa.Executable, *settings: str) -> str:
    """Return the database's plan of a query."""
    sql = str(
        query.compile(  # type: ignore[attr-defined]
            store.database.engine, compile_kwargs={"literal_binds": True}
        )
    )
    with store.database.read() as connection:
        for setting in settings:
            connection.exec_driver_sql(setting)
        rows = connection.execute(sa.text(f"EXPLAIN {'QUERY PLAN ' if store.database.is_sqlite else ''}{sql}"))
        return "\n".join(str(row[-1]) for row in rows)


def index_of(listing: Listing[Any]) -> str:
    return f"ix_{listing.table.name}_character_id_{listing.time}_{listing.key}"


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("after", [None, (1_700_000_000_000, 5)])
def test_a_page_of_each_list_is_read_from_its_index_in_order(
    store: Store, newest_first: bool, after: tuple[int, int] | None
) -> None:
    # PostgreSQL prefers other plans for tables that are empty.
    others = ("seqscan", "bitmapscan", "incremental_sort")
    settings = () if store.database.is_sqlite else [f"SET LOCAL enable_{each} = off" for each in others]
    store.migrate()
    assert len(LISTINGS) == 7
    for listing in LISTINGS:
        query = Query(listing, CHARACTER, "2023-01-01", newest_first=newest_first)
        found = plan(store, query.following(query.statement({}), after).limit(100), *settings)
        assert index_of(listing) in found, found
        assert_ordered(found)


def assert_ordered(found: str) -> None:
    """Check that a plan reads no whole table and sorts nothing."""
    for each in ("Sort", "TEMP B-TREE", "SCAN ", "Seq Scan"):
        assert each not in found, found


def test_a_page_deep_in_a_long_journal_reads_only_its_rows(long_journal: Store) -> None:
    for newest_first in (False, True):
        query = Query(listings.JOURNAL, CHARACTER, newest_first=newest_first)
        page = query.following(query.statement({}), (1_700_025_000_000, 100_000)).limit(100)
        found = plan(long_journal, page)
        assert index_of(listings.JOURNAL) in found, found
        assert_ordered(found)


def test_a_dashboards_range_of_a_view_is_read_from_the_index(long_journal: Store) -> None:
    filtered = "date_ms >= 1700025000000 AND date_ms < 1700025500000"
    query = f"SELECT date, balance FROM v1_journal WHERE character_id = {CHARACTER} AND {filtered} ORDER BY date_ms, id"
    found = plan(long_journal, sa.text(query))
    assert index_of(listings.JOURNAL) in found, found


def test_every_index_of_a_list_is_declared() -> None:
    names = {index.name for table in metadata.tables.values() for index in table.indexes}
    assert {index_of(listing) for listing in LISTINGS} <= names


def test_200000_rows_are_read_in_constant_memory(long_journal: Store) -> None:
    url = long_journal.database.url.render_as_string(hide_password=False).replace("+psycopg", "")
    ran = subprocess.run(
        [sys.executable, "-c", _READER, url, str(CHARACTER)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
        timeout=120,
    )
    count, grown_kib = map(int, ran.stdout.split())
    assert count == ROWS
    # The rows would take 150 MB.
    assert grown_kib < 10 * 1024


def test_many_threads_read_at_once(data: Data, absorb: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "PAGE_ROWS", 50)
    absorb(history.JOURNAL, [entry(number, number / 1_000, "1", "1") for number in range(300)])
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: found.append([row.id for row in data.journal(CHARACTER)])) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [list(range(300))] * 12
