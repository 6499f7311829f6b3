"""The wallet's balance over time, from the journal: after each entry, or once a period."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ..clock import Clock
from ..errors import BadInput
from ..logs.foreign_text import safe_repr
from ..store.database import Database
from .listings import JOURNAL, Query
from .moments import EPOCH, Moment, range_ms, to_datetime
from .rows import Balance, JournalEntry

#: A shorter period has nothing that the entries, whose times are in seconds, do not have.
_SHORTEST = timedelta(seconds=1)


def balances(
    database: Database,
    clock: Clock,
    character_id: int,
    from_: Moment | None,
    to: Moment | None,
    every: timedelta | None,
) -> Iterator[Balance]:
    """Return the balances of a range; arguments are checked now, queries are sent while iterating.

    Raises `BadInput`.
    """
    entries = _known(Query(JOURNAL, character_id, from_, to).read(database, {}))
    if every is None:
        return (_balance(entry, entry.date) for entry in entries)
    if not isinstance(every, timedelta) or every < _SHORTEST:
        raise BadInput(f"every {safe_repr(every, 100)} is invalid (allowed: a timedelta of a second or more)")
    from_ms, to_ms = range_ms(from_, to)
    now_ms = clock.now_ms()
    # A period that has not begun has no balance yet.
    end = to_datetime(now_ms + 1 if to_ms is None else min(to_ms, now_ms + 1))
    begin = None if from_ms is None else to_datetime(from_ms)
    return _by_period(entries, _before(database, character_id, from_), begin, end, every)


def _by_period(
    entries: Iterator[JournalEntry],
    before: Iterator[JournalEntry],
    begin: datetime | None,
    end: datetime,
    every: timedelta,
) -> Iterator[Balance]:
    """Yield the last known balance of each period from `begin`, or the first entry, to `end`."""
    last = next(before, None)
    following = next(entries, None)
    if begin is None or last is None:
        begin = max(begin, following.date) if begin and following else following and following.date
    period = end if begin is None else begin - (begin - EPOCH) % every
    while period < end:
        while following is not None and following.date < period + every:
            last, following = following, next(entries, None)
        if last is not None:
            yield _balance(last, period)
        period += every


def _before(database: Database, character_id: int, from_: Moment | None) -> Iterator[JournalEntry]:
    """Yield the last entry before the range, whose balance its first period begins with."""
    if from_ is None:
        return iter(())
    return _known(Query(JOURNAL, character_id, to=from_, newest_first=True).read(database, {}))


def _known(entries: Iterator[JournalEntry]) -> Iterator[JournalEntry]:
    return (entry for entry in entries if entry.balance is not None)


def _balance(entry: JournalEntry, at: datetime) -> Balance:
    assert entry.balance is not None
    return Balance(at, entry.balance, entry.id, entry.date)
