"""The wallet's journal and transactions: their rows never change, and if ESI changes one, that is recorded."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..schema import wallet_journal, wallet_transactions
from ..upsert import upsert
from .balances import Entry, Ledger
from .corrections import save_corrections
from .proofs import prove, prove_with_balances
from .rows import Changes, RowKind, Snapshot

_JOURNAL = RowKind(wallet_journal, dates={"date": "date_ms"})
_TRANSACTIONS = RowKind(wallet_transactions, dates={"date": "date_ms"})
_ENTRY = tuple(wallet_journal.c[name] for name in Entry._fields)

#: Rows by their id.
_Rows = Mapping[int, Mapping[Any, Any]]


def absorb_journal(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the journal entries of `snapshot`."""
    rows, changes = _absorb(connection, wallet_journal, _JOURNAL, "id", snapshot)
    ledger = functools.partial(_ledger, connection, snapshot.character_id, rows)
    prove_with_balances(connection, snapshot, ledger, has_changed=bool(changes.new or changes.changed))
    return changes


def absorb_transactions(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the transactions of `snapshot`."""
    _, changes = _absorb(connection, wallet_transactions, _TRANSACTIONS, "transaction_id", snapshot)
    prove(connection, snapshot)
    return changes


def _absorb(
    connection: Connection, table: sa.Table, kind: RowKind, key: str, snapshot: Snapshot
) -> tuple[_Rows, Changes]:
    """Save rows, and return all that are stored now from the first to the last of their ids."""
    # By key first: a row may be on two pages if the pages changed while they were read.
    rows = {row[key]: row for row in (kind.read(snapshot.character_id, each) for each in snapshot.body)}
    stored = _stored(connection, table, key, snapshot.character_id, rows)
    new = [row for row_id, row in rows.items() if row_id not in stored]
    # What an older response says of a known row is not newer than what is stored.
    corrected = _corrected(stored, rows) if snapshot.is_newest else []
    upsert(connection, table, [*new, *(row for _, row in corrected)])
    save_corrections(connection, snapshot, key, corrected)
    known: dict[int, Mapping[Any, Any]] = dict(rows)
    known |= {row_id: row._mapping for row_id, row in stored.items()}
    known |= {row[key]: row for _, row in corrected}
    return known, Changes(seen=len(rows), new=len(new), changed=len(corrected))


def _stored(
    connection: Connection, table: sa.Table, key: str, character_id: int, rows: _Rows
) -> dict[int, sa.Row[Any]]:
    """Return the stored rows between the first and the last of these ids, with the columns in the order of `rows`."""
    if not rows:
        return {}
    columns = [table.c[name] for name in next(iter(rows.values()))]
    at = columns.index(table.c[key])
    same = (table.c.character_id == character_id, table.c[key].between(min(rows), max(rows)))
    return {row[at]: row for row in connection.execute(sa.select(*columns).where(*same))}


def _corrected(stored: Mapping[int, sa.Row[Any]], rows: _Rows) -> list[tuple[sa.Row[Any], Mapping[str, Any]]]:
    known = ((stored[row_id], row) for row_id, row in rows.items() if row_id in stored)
    return [(old, row) for old, row in known if tuple(old) != tuple(row.values())]


def _ledger(connection: Connection, character_id: int, rows: _Rows) -> Ledger | None:
    """Return the entries of `rows`, and the stored ones next to the first and the last."""
    if not rows:
        return None
    entries = [Entry(*(row[name] for name in Entry._fields)) for row in rows.values()]
    column = wallet_journal.c.id
    of_character = sa.select(*_ENTRY).where(wallet_journal.c.character_id == character_id).limit(1)
    before = of_character.where(column < min(rows)).order_by(column.desc())
    after = of_character.where(column > max(rows)).order_by(column)
    entries += [Entry(*row) for query in (before, after) for row in connection.execute(query)]
    return Ledger(entries)
