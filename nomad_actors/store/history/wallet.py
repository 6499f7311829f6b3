"""The wallet's journal and transactions: their rows never change."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..schema import wallet_journal, wallet_transactions
from ..upsert import upsert
from .rows import Changes, RowKind, Snapshot, known_keys

_JOURNAL = RowKind(wallet_journal, dates={"date": "date_ms"})
_TRANSACTIONS = RowKind(wallet_transactions, dates={"date": "date_ms"})


def absorb_journal(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the journal entries of `snapshot`."""
    return _absorb(connection, wallet_journal, _JOURNAL, "id", snapshot)


def absorb_transactions(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the transactions of `snapshot`."""
    return _absorb(connection, wallet_transactions, _TRANSACTIONS, "transaction_id", snapshot)


def _absorb(connection: Connection, table: sa.Table, kind: RowKind, key: str, snapshot: Snapshot) -> Changes:
    # By key first: a row may be on two pages if the pages changed while they were read.
    read = {row[key]: row for row in (kind.read(snapshot.character_id, each) for each in snapshot.body)}
    rows = list(read.values())
    known = known_keys(connection, table, key, snapshot.character_id, rows)
    upsert(connection, table, rows)
    return Changes(seen=len(rows), new=sum(row[key] not in known for row in rows))
