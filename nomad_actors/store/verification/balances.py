"""The journal's chain: each entry's balance is the one before it and its own amount, in the order of the ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from ..history.completeness import Completeness
from .problem import Kind, Problem, is_claimed

_REMEDY = "entries are missing between the two, or a value was changed in the database: compare both with the game"
_REPEATED = "delete the one that ESI does not list; everything after both is counted once too often"


class Entry(NamedTuple):
    """What the chain needs of a journal entry."""

    id: int
    date_ms: int
    ref_type: str
    amount: Decimal | None
    balance: Decimal | None


def broken_balances(entries: Iterable[Entry], covered: Completeness) -> Iterator[Problem]:
    """Yield where two neighbouring entries, in the order of their ids, do not continue each other.

    Only within the time that `covered` claims to be complete. ESI may leave out amount and balance; then nothing can
    be said about that entry and the next.
    """
    before: Entry | None = None
    for entry in entries:
        if before is not None and (found := _compare(before, entry, covered)):
            yield found
        before = entry


def _compare(before: Entry, entry: Entry, covered: Completeness) -> Problem | None:
    if before.balance is None or entry.balance is None or entry.amount is None:
        return None
    if before.balance + entry.amount == entry.balance:
        return None
    if entry.amount and before[1:] == entry[1:]:
        return _problem(Kind.REPEATED, before, entry, covered, f"{_name(entry)} repeats {before.id}", _REPEATED)
    if not is_claimed(covered, *sorted((before.date_ms, entry.date_ms))):
        return None
    missing = entry.balance - entry.amount - before.balance
    cause = f"{missing:+,} ISK are unexplained between {_name(before)} and {_name(entry)}"
    return _problem(Kind.BALANCE, before, entry, covered, cause, _REMEDY)


def _name(entry: Entry) -> str:
    return f"{entry.id} ({entry.ref_type}, balance {entry.balance:,})"


def _problem(kind: Kind, before: Entry, entry: Entry, covered: Completeness, cause: str, remedy: str) -> Problem:
    return Problem(
        kind,
        covered.character_id,
        covered.data_type,
        cause,
        remedy,
        ids=(before.id, entry.id),
        from_ms=before.date_ms,
        until_ms=entry.date_ms,
    )
