"""The balances of a wallet's journal: each entry's amount leads from the balance before it to its own.

Entries whose amounts add up to nothing can be missing without a trace, so balances show holes and never disprove one.
An entry without a balance is passed over; one without an amount begins anew, because it may have changed anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import groupby
from typing import NamedTuple


class Entry(NamedTuple):
    """The columns of a journal's entry that its balances depend on; in the order of time."""

    date_ms: int
    id: int
    amount: Decimal | None
    balance: Decimal | None


@dataclass(frozen=True)
class Break:
    """Two entries, the second of which has a balance that the first one does not lead to."""

    before: Entry
    after: Entry
    missing: Decimal

    @property
    def from_ms(self) -> int:
        return self.before.date_ms

    @property
    def until_ms(self) -> int:
        return self.after.date_ms

    def describe(self) -> str:
        """Return what is wrong, for people."""
        return f"between the entries {self.before.id} and {self.after.id}, {self.missing} ISK are missing"


class Ledger:
    """Entries that are consecutive as far as is known."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = sorted(entries)

    @property
    def first_ms(self) -> int:
        return self._entries[0].date_ms

    @property
    def last_ms(self) -> int:
        return self._entries[-1].date_ms

    @cached_property
    def breaks(self) -> tuple[Break, ...]:
        """Where the balances do not lead from one entry to the next."""
        return tuple(_breaks(self._entries))

    def breaks_around(self, from_ms: int, until_ms: int) -> tuple[Break, ...] | None:
        """Return the breaks that touch a span; None if no balance before and after it is known."""
        before = any(each.date_ms <= from_ms and each.balance is not None for each in self._entries)
        after = any(each.date_ms >= until_ms and None not in each for each in self._entries)
        if not before or not after:
            return None
        return tuple(each for each in self.breaks if each.from_ms <= until_ms and from_ms <= each.until_ms)


def _breaks(entries: Sequence[Entry]) -> Iterator[Break]:
    last: Entry | None = None
    balance: Decimal | None = None
    for _, group in groupby(entries, key=lambda each: each.date_ms):
        same_second = list(group)
        found, end = _in_order(last, balance, same_second)
        if found and (reordered := _in_any_order(balance, same_second)) is not None:
            found, end = [], reordered
        yield from found
        last, balance = same_second[-1], end


def _in_order(
    last: Entry | None, balance: Decimal | None, entries: Sequence[Entry]
) -> tuple[list[Break], Decimal | None]:
    """Return the breaks after `last`, whose balance is `balance`, and the balance at the end (None: not known)."""
    found = []
    for entry in entries:
        if entry.amount is None:
            balance = entry.balance
        elif balance is None or entry.balance is None:
            balance = entry.balance if balance is None else balance + entry.amount
        else:
            missing = entry.balance - balance - entry.amount
            if missing and last is not None:
                found.append(Break(last, entry, missing))
            balance = entry.balance
        last = entry
    return found, balance


def _in_any_order(balance: Decimal | None, entries: Sequence[Entry]) -> Decimal | None:
    """Return the balance at the end of some order of the entries of one second in which all balances hold, or None.

    Each entry is an edge from the balance before it to its own: such an order is a path over every edge, which exists
    if the edges are connected and lead as often to each balance as away from it, except at the path's ends.
    """
    edges = [
        (entry.balance - entry.amount, entry.balance)
        for entry in entries
        if entry.amount is not None and entry.balance is not None
    ]
    if len(edges) < len(entries):
        return None
    surplus: Counter[Decimal] = Counter(begin for begin, _ in edges)
    surplus.subtract(end for _, end in edges)
    begins = [node for node, count in surplus.items() if count > 0]
    ends = [node for node, count in surplus.items() if count < 0]
    if len(begins) > 1 or any(abs(count) > 1 for count in surplus.values()):
        return None
    start = begins[0] if begins else (balance if balance is not None else edges[0][0])
    if (balance is not None and start != balance) or not _are_connected(start, edges):
        return None
    return ends[0] if ends else start


def _are_connected(start: Decimal, edges: Sequence[tuple[Decimal, Decimal]]) -> bool:
    reached, left = {start}, list(edges)
    while near := [edge for edge in left if reached.intersection(edge)]:
        left = [edge for edge in left if not reached.intersection(edge)]
        reached.update(*near)
    return not left
