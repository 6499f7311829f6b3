"""What it costs to read a journal of a million rows, beside a plain cursor over the same rows, on both databases."""

from __future__ import annotations

import contextlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dramatiq
import pytest
import redis
import sqlalchemy as sa

from nomad_actors.broker import JobBroker
from nomad_actors.clock import SystemClock
from nomad_actors.data import Data
from nomad_actors.store import Store, TokenCipher
from tests.support.postgres import serve

Measured = Mapping[str, float]

CHARACTER_ID = 95_465_499
ROWS = 1_000_000
PAGES, PAGE_ROWS = 200, 100
_NUMBERS = {
    "SQLite": f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS})",
    "PostgreSQL": f"WITH numbers(n) AS (SELECT generate_series(1::bigint, {ROWS}))",
}
_JOURNAL = """
INSERT INTO wallet_journal (character_id, id, date_ms, ref_type, description, amount, balance, first_party_id)
{numbers} SELECT {character}, n, 1700000000000 + n / 4 * 1000, 'bounty_prizes', 'Killing pirates in Jita', 100, n, 500
FROM numbers
"""


def reading(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Read a million journal rows, and pages of 100 at random cursors."""
    if not isinstance(broker, JobBroker):
        return {}
    found: dict[str, float] = {}
    for name, database in (("SQLite", _sqlite), ("PostgreSQL", _postgres)):
        with contextlib.suppress(pytest.skip.Exception), database() as url:
            found |= _measure(name, url)
    return found


@contextlib.contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        yield f"sqlite:///{Path(directory) / 'nomad.db'}"


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    with contextlib.contextmanager(serve)() as postgres:
        yield postgres.url


def _measure(name: str, url: str) -> Measured:
    clock = SystemClock()
    with contextlib.closing(Store(url, cipher=TokenCipher(["a key for bench"]), clock=clock)) as store:
        _fill(store, _NUMBERS[name])
        data = Data(store, clock)
        list(data.journal(CHARACTER_ID, limit=5_000))
        before_kib = _peak_kib()
        ours = _per_second(lambda: sum(1 for _ in data.journal(CHARACTER_ID)))
        grown_mib = (_peak_kib() - before_kib) / 1024
        plain = _per_second(lambda: _plain(store))
        pages = sorted(_pages_ms(data))
    return {
        f"reading, rows/s, {name}": ours,
        f"reading, % of a plain cursor, {name}": 100 * ours / plain,
        f"reading, MiB more, {name}": grown_mib,
        f"page of 100 of a million, p50 ms, {name}": statistics.median(pages),
        f"page of 100 of a million, p99 ms, {name}": pages[len(pages) * 99 // 100],
    }


def _fill(store: Store, numbers: str) -> None:
    store.logins.save(
        character_id=CHARACTER_ID, user_id=1, name="Bench", owner_hash="owner", scopes=[], refresh_token="token"
    )
    with store.database.write() as connection:
        connection.execute(sa.text(_JOURNAL.format(numbers=numbers, character=CHARACTER_ID)))
    with store.database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")


def _plain(store: Store) -> int:
    """Read the same columns in the same order as the driver gives them; on PostgreSQL with a cursor on the server."""
    query = f"SELECT * FROM wallet_journal WHERE character_id = {CHARACTER_ID} ORDER BY date_ms, id"
    with store.database.engine.connect() as connection:
        streamed = connection.execution_options(stream_results=True, max_row_buffer=2_000)
        return sum(1 for _ in streamed.execute(sa.text(query)))


def _per_second(read: Callable[[], int]) -> float:
    began = time.perf_counter()
    count = read()
    assert count == ROWS
    return count / (time.perf_counter() - began)


def _pages_ms(data: Data) -> Iterator[float]:
    """Yield how long pages take at cursors all over the journal."""
    for page in range(PAGES):
        cursor = f"journal.{1_700_000_000_000 + page * (ROWS // PAGES) // 4 * 1000}.0"
        began = time.perf_counter()
        found = list(data.journal(CHARACTER_ID, after=cursor, limit=PAGE_ROWS))
        yield (time.perf_counter() - began) * 1000
        assert len(found) == PAGE_ROWS


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
