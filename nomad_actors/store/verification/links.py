"""Transactions and journal entries that name each other: where one is stored, the other must be, in covered time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import sqlalchemy as sa

from ..history.completeness import Completeness
from ..schema import wallet_journal, wallet_transactions
from .problem import Kind, Problem, is_claimed

#: Returns how to get back a row of a data type and of a time (ms).
Restore = Callable[[str, int], str]


class Link(NamedTuple):
    """A row whose partner is not stored."""

    id: int
    date_ms: int
    partner_id: int


def transactions_without_entry(character_id: int) -> sa.Select[tuple[int, int, int]]:
    """Return the query of a character's own transactions whose journal entry is not stored.

    A corporation's trade is not in the character's journal, and ESI writes -1 if there is no entry.
    """
    trade, entry = wallet_transactions.c, wallet_journal.c
    is_stored = sa.exists().where(entry.character_id == trade.character_id, entry.id == trade.journal_ref_id)
    return sa.select(trade.transaction_id, trade.date_ms, trade.journal_ref_id).where(
        trade.character_id == character_id, trade.is_personal, trade.journal_ref_id > 0, ~is_stored
    )


def entries_without_transaction(character_id: int) -> sa.Select[tuple[int, int, int]]:
    """Return the query of a character's journal entries of trades whose transaction is not stored."""
    trade, entry = wallet_transactions.c, wallet_journal.c
    is_stored = sa.exists().where(trade.character_id == entry.character_id, trade.transaction_id == entry.context_id)
    return sa.select(entry.id, entry.date_ms, entry.context_id).where(
        entry.character_id == character_id,
        entry.ref_type == "market_transaction",
        entry.context_id_type == "market_transaction_id",
        ~is_stored,
    )


def missing_entries(links: Iterable[Link], journal: Completeness, restore: Restore) -> Iterator[Problem]:
    """Yield the transactions of `links` whose journal entry should be stored, by what `journal` claims."""
    for link in links:
        if is_claimed(journal, link.date_ms, link.date_ms):
            cause = f"transaction {link.id} names journal entry {link.partner_id}, which is not stored"
            yield _problem(Kind.NO_ENTRY, link, journal, cause, restore)


def missing_transactions(links: Iterable[Link], transactions: Completeness, restore: Restore) -> Iterator[Problem]:
    """Yield the journal entries of `links` whose transaction should be stored, by what `transactions` claims."""
    for link in links:
        if is_claimed(transactions, link.date_ms, link.date_ms):
            cause = f"journal entry {link.id} names transaction {link.partner_id}, which is not stored"
            yield _problem(Kind.NO_TRANSACTION, link, transactions, cause, restore)


def _problem(kind: Kind, link: Link, covered: Completeness, cause: str, restore: Restore) -> Problem:
    return Problem(
        kind,
        covered.character_id,
        covered.data_type,
        cause,
        restore(covered.data_type, link.date_ms),
        ids=(link.id, link.partner_id),
        from_ms=link.date_ms,
        until_ms=link.date_ms,
    )
