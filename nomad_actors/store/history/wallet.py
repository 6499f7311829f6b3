"""The wallet's journal and transactions: their rows never change."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..schema import wallet_journal, wallet_transactions
from ..upsert import upsert
from .rows import Changes, RowKind, Window, known_keys

_JOURNAL = RowKind(wallet_journal, dates={"date": "date_ms"})
_TRANSACTIONS = RowKind(wallet_transactions, dates={"date": "date_ms"})


def absorb_journal(
    connection: Connection, character_id: int, body: Any, as_of_ms: int, window: Window, is_complete: bool
) -> Changes:
    """Save the journal entries of `body` in `window`."""
    return _absorb(connection, wallet_journal, _JOURNAL, "id", character_id, body, window)


def absorb_transactions(
    connection: Connection, character_id: int, body: Any, as_of_ms: int, window: Window, is_complete: bool
) -> Changes:
    """Save the transactions of `body` in `window`."""
    return _absorb(connection, wallet_transactions, _TRANSACTIONS, "transaction_id", character_id, body, window)


def _absorb(
    connection: Connection,
    table: sa.Table,
    kind: RowKind,
    key: str,
    character_id: int,
    body: Any,
    window: Window,
) -> Changes:
    # By key first: a row may be on two pages if the pages changed while they were read.
    read = {row[key]: row for row in (kind.read(character_id, each) for each in body)}
    rows = [row for row in read.values() if window.contains(row["date_ms"])]
    known = known_keys(connection, table, key, character_id, rows)
    upsert(connection, table, rows)
    return Changes(seen=len(rows), new=sum(row[key] not in known for row in rows))
