"""What it costs to save a collection's rows in PostgreSQL, beside saving them row by row."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import dramatiq
import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nomad_actors.broker import JobBroker
from nomad_actors.clock import SystemClock
from nomad_actors.store import Snapshot, Store, TokenCipher, history
from nomad_actors.store.history import JOURNAL
from nomad_actors.store.schema import wallet_journal
from nomad_actors.store.upsert import upsert
from tests.support.postgres import serve

Measured = Mapping[str, float]

CHARACTER_ID = 95_465_499
ROWS = 100_000
#: The row-by-row way takes a millisecond for each.
ROW_BY_ROW = 3_000
#: Before the measured rows, so that connection, imports and caches are not part of their memory.
WARM_UP = 10_000
_FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def history_rows(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Save journal entries in PostgreSQL; rows per second in one collection and row by row, and MB of memory."""
    if not isinstance(broker, JobBroker):
        return {}
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(contextlib.contextmanager(serve)()).url
        except pytest.skip.Exception:
            return {}
        store = stack.enter_context(contextlib.closing(_store(url)))
        return _measure(store)


def _store(url: str) -> Store:
    store = Store(url, cipher=TokenCipher(["a key for bench"]), clock=SystemClock())
    store.logins.save(
        character_id=CHARACTER_ID, user_id=1, name="Bench", owner_hash="owner", scopes=[], refresh_token="token"
    )
    return store


def _measure(store: Store) -> Measured:
    entries = [_entry(number) for number in range(ROWS)]
    row_by_row = _per_second(store, entries[:ROW_BY_ROW], _save_one_by_one)
    _per_second(store, entries[:WARM_UP], _collect)
    collected = _per_second(store, entries, _collect)
    with store.database.read() as connection:
        rows = [dict(row._mapping) for row in connection.execute(sa.select(wallet_journal))]
    before_kib = _peak_kib()
    upserted = _per_second(store, rows, lambda connection, given: upsert(connection, wallet_journal, given))
    return {
        "history, rows/s of a collection": collected,
        "history, rows/s of an upsert": upserted,
        "history, rows/s row by row": row_by_row,
        "history, collection / row by row": collected / row_by_row,
        "history, MiB more for an upsert": (_peak_kib() - before_kib) / 1024,
    }


def _entry(number: int) -> dict[str, Any]:
    """Return a journal entry as ESI sends it."""
    return {
        "id": 23_000_000_000 + number,
        "date": (_FIRST + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ref_type": "bounty_prizes",
        "description": f"Killing {number % 7} pirates in Jita",
        "amount": Decimal(number % 100_000_000).scaleb(-2),
        "balance": Decimal(10_000_000_000 + number).scaleb(-2),
        "context_id": 30_000_142,
        "context_id_type": "system_id",
        "first_party_id": 1_000_125,
        "second_party_id": CHARACTER_ID,
        "reason": "",
    }


def _per_second(
    store: Store, rows: list[dict[str, Any]], save: Callable[[Connection, list[dict[str, Any]]], None]
) -> float:
    """Save rows into the empty table; return how many a second, including the commit."""
    with store.database.write() as connection:
        connection.execute(sa.delete(wallet_journal))
    began = time.perf_counter()
    with store.database.write() as connection:
        save(connection, rows)
    return len(rows) / (time.perf_counter() - began)


def _collect(connection: Connection, entries: list[dict[str, Any]]) -> None:
    history.absorb(connection, Snapshot(CHARACTER_ID, JOURNAL, entries, SystemClock().now_ms()))


def _save_one_by_one(connection: Connection, entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        _collect(connection, [entry])


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
