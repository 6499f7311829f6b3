"""What responses prove: which time is complete, and which spans are not. Only arithmetic; `proofs` stores it.

A complete response proves the time from what ESI still shows up to when its data was true. What lies between that and
what was proven before is a hole, and a later response that covers a hole closes it. Spans include both ends; what is
proven includes its begin and not its end, because ESI's times are seconds, and a second may not be over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .balances import Break, Ledger
from .completeness import UNSEEN_AFTER_MS, Cause

#: Separates what the balances say about a hole from how it came about.
_BY_BALANCE = "; by the balances, "
#: How many breaks the details of a hole name.
_NAMED = 3
#: Holes that no later response closes by its time: others close them, or nothing does.
_LASTING = frozenset({"balance", "unseen"})


@dataclass(frozen=True)
class Span:
    """A hole, without its character and data type; `found_ms` of an unchanged one stays."""

    from_ms: int
    until_ms: int
    cause: Cause
    details: str
    found_ms: int


@dataclass(frozen=True)
class Coverage:
    """What is proven of one data type of a character; the times are None if nothing is."""

    since_ms: int | None = None
    until_ms: int | None = None
    read_ms: int | None = None
    holes: tuple[Span, ...] = ()

    def taken_back(self, now_ms: int, to_ms: int) -> Coverage:
        """Return this with `to_ms` for times after `now_ms`, which a clock that was ahead has claimed."""
        since_ms, until_ms, read_ms = (
            each if each is None or each <= now_ms else to_ms for each in (self.since_ms, self.until_ms, self.read_ms)
        )
        # Those of the balances have ESI's times.
        holes = tuple(
            hole if hole.cause == "balance" else replace(hole, until_ms=min(hole.until_ms, now_ms))
            for hole in self.holes
            if hole.cause == "balance" or hole.from_ms <= now_ms
        )
        return Coverage(since_ms, until_ms, read_ms, holes)

    def proves(self, at_ms: int) -> bool:
        """Return whether every row of this time is known, apart from holes."""
        return self.since_ms is not None and self.until_ms is not None and self.since_ms <= at_ms < self.until_ms


def extended(known: Coverage, since_ms: int, until_ms: int, *, read_ms: int | None, found_ms: int) -> Coverage:
    """Return `known` with a response that has every row from `since_ms` to before `until_ms`.

    `read_ms` is when it was read, if it has all of ESI's rows, else None.
    """
    if since_ms > until_ms:
        return known
    read = max((each for each in (known.read_ms, read_ms) if each is not None), default=None)
    holes = tuple(left for hole in known.holes for left in _left(hole, since_ms, until_ms))
    if known.since_ms is None or known.until_ms is None:
        return Coverage(since_ms, until_ms, read, holes)
    if until_ms < known.since_ms:
        return replace(known, holes=holes)
    if since_ms > known.until_ms:
        holes = _with_gap(holes, known.until_ms, since_ms, found_ms)
    return Coverage(min(known.since_ms, since_ms), max(known.until_ms, until_ms), read, holes)


def marked(known: Coverage, set_aside: Sequence[Span]) -> Coverage:
    """Return `known` with the holes that the newest response has; they replace those of the response before."""
    proven_ms = known.until_ms or 0
    kept = [
        replace(hole, until_ms=min(hole.until_ms, proven_ms)) if hole.cause == "set_aside" else hole
        for hole in known.holes
        if hole.cause != "set_aside" or hole.from_ms < proven_ms
    ]
    return replace(known, holes=_merged(known.holes, [*kept, *set_aside]))


def with_unseen(known: Coverage, from_ms: int, until_ms: int, found_ms: int) -> Coverage:
    """Return `known` without the orders that were placed and filled between two lists of the open ones.

    Lists that are always far apart make one hole, which becomes longer.
    """
    if until_ms - from_ms <= UNSEEN_AFTER_MS:
        return known
    details = "orders that were placed and filled meanwhile are in no response"
    new = Span(from_ms, until_ms, "unseen", details, found_ms)
    near = [each for each in known.holes if each.cause == "unseen" and from_ms - each.until_ms <= UNSEEN_AFTER_MS]
    for each in near:
        earlier_ms, later_ms = min(new.from_ms, each.from_ms), max(new.until_ms, each.until_ms)
        new = replace(each, from_ms=earlier_ms, until_ms=later_ms, found_ms=min(new.found_ms, each.found_ms))
    return replace(known, holes=(*(each for each in known.holes if each not in near), new))


def balanced(known: Coverage, ledger: Ledger, found_ms: int) -> Coverage:
    """Return `known` with the holes that the balances of `ledger` show, instead of those shown before."""
    first_ms, last_ms = ledger.first_ms, ledger.last_ms
    others = [hole for hole in known.holes if hole.cause != "balance"]
    elsewhere = [
        hole for hole in known.holes if hole.cause == "balance" and (hole.from_ms < first_ms or hole.until_ms > last_ms)
    ]
    shown = [
        Span(each.from_ms, each.until_ms, "balance", each.describe(), found_ms)
        for each in ledger.breaks
        if known.proves(each.from_ms) and not _explained(each, others)
    ]
    return replace(known, holes=_merged(known.holes, [*(_judged(hole, ledger) for hole in others), *elsewhere, *shown]))


def _left(hole: Span, since_ms: int, until_ms: int) -> Iterator[Span]:
    """Yield what is left of a hole before and after a time that is proven."""
    if hole.cause in _LASTING or hole.until_ms < since_ms or hole.from_ms >= until_ms:
        yield hole
        return
    if hole.from_ms < since_ms:
        yield replace(hole, until_ms=since_ms)
    if hole.until_ms > until_ms:
        yield replace(hole, from_ms=until_ms)


def _with_gap(holes: tuple[Span, ...], from_ms: int, until_ms: int, found_ms: int) -> tuple[Span, ...]:
    begun = [hole for hole in holes if hole.cause not in _LASTING and hole.from_ms <= from_ms <= hole.until_ms]
    if not begun:
        return (*holes, Span(from_ms, until_ms, "retention", "ESI no longer showed this time", found_ms))
    longer = replace(begun[0], until_ms=max(begun[0].until_ms, until_ms))
    return tuple(longer if hole is begun[0] else hole for hole in holes)


def _merged(before: Sequence[Span], after: Sequence[Span]) -> tuple[Span, ...]:
    """Return `after` in the order of time, without duplicates, each with the time when it was found first."""
    found = {(hole.from_ms, hole.until_ms, hole.cause): hole.found_ms for hole in reversed(before)}
    unique = {(hole.from_ms, hole.until_ms, hole.cause): hole for hole in after}
    return tuple(replace(unique[key], found_ms=found.get(key, unique[key].found_ms)) for key in sorted(unique))


def _explained(shown: Break, holes: Sequence[Span]) -> bool:
    """Return whether the missing amount may be that of rows in another hole."""
    return any(hole.from_ms <= shown.until_ms and shown.from_ms <= hole.until_ms for hole in holes)


def _judged(hole: Span, ledger: Ledger) -> Span:
    """Return a hole with what the balances on both its sides say, if both are known."""
    shown = ledger.breaks_around(hole.from_ms, hole.until_ms)
    if shown is None:
        return hole
    described = ", ".join(each.describe() for each in shown[:_NAMED]) or "what may be missing adds up to 0 ISK"
    return replace(hole, details=hole.details.split(_BY_BALANCE)[0] + _BY_BALANCE + described)
