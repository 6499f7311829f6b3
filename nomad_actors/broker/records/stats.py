"""The statistics of a queue: what ended in each minute and in all; the settling scripts count, so a kill loses nothing.

The layout is that of ``scripts/lib/stats.lua``. Durations are counted in buckets, two for each doubling, so that a
percentile read from them is off by at most a fifth, however many jobs there were.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..endings import Outcome

#: How many runs of each actor have ended so far, by actor and outcome.
Totals = Mapping[tuple[str, str], int]
#: Counts the runs of a body without an actor's name, and of all further actors once a queue has had a hundred.
UNKNOWN_ACTOR = "unknown"

_OUTCOMES = {outcome.value.encode() for outcome in Outcome}
_HEAD = struct.Struct(">9Idd")
_BUCKET = struct.Struct(">BI")


@dataclass(frozen=True, slots=True)
class Durations:
    """How long something took, in ms: the sum, and the counts by bucket."""

    total_ms: float = 0.0
    buckets: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return sum(self.buckets.values())

    def mean_ms(self) -> float | None:
        """Return the mean; None if nothing was measured."""
        return self.total_ms / self.count if self.count else None

    def percentile_ms(self, share: float) -> float | None:
        """Return the duration that a `share` of them (0.5, 0.95) stayed below; None if nothing was measured."""
        target, seen = share * self.count, 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= target:
                return _middle_ms(bucket)
        return None


def _middle_ms(bucket: int) -> float:
    """Return the geometric middle of a bucket; the first bucket counts durations below 1 ms."""
    return 0.5 if bucket == 0 else float(2 ** ((bucket - 0.5) / 2))


@dataclass(frozen=True, slots=True)
class Tally:
    """What ended in a period: jobs and runs by outcome, and how long they waited and ran."""

    completed: int = 0
    skipped: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    deferred: int = 0
    released: int = 0
    recovered: int = 0
    run: Durations = field(default_factory=Durations)
    wait: Durations = field(default_factory=Durations)


_COUNTS = ("completed", "skipped", "failed", "cancelled", "retried", "deferred", "released", "recovered")


def unpack(value: bytes) -> tuple[int, Tally] | None:
    """Return a stored entry's minute (since the epoch) and what ended in it; None if the value is invalid."""
    try:
        minute, *counts, run_ms, wait_ms = _HEAD.unpack_from(value)
        runs, offset = _unpack_buckets(value, _HEAD.size)
        waits, _ = _unpack_buckets(value, offset)
    except (struct.error, IndexError):
        return None
    if not (math.isfinite(run_ms) and math.isfinite(wait_ms)):
        return None
    return minute, _tally(counts, Durations(run_ms, runs), Durations(wait_ms, waits))


def _tally(counts: Sequence[int], run: Durations, wait: Durations) -> Tally:
    fields: dict[str, Any] = {**dict(zip(_COUNTS, counts, strict=True)), "run": run, "wait": wait}
    return Tally(**fields)


def _unpack_buckets(value: bytes, offset: int) -> tuple[Counter[int], int]:
    found: Counter[int] = Counter()
    number = value[offset]
    offset += 1
    for _ in range(number):
        bucket, count = _BUCKET.unpack_from(value, offset)
        found[bucket] += count
        offset += _BUCKET.size
    return found, offset


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of tallies."""
    listed = list(tallies)
    counts = [sum(getattr(t, name) for t in listed) for name in _COUNTS]
    return _tally(counts, _sum(t.run for t in listed), _sum(t.wait for t in listed))


def _sum(durations: Iterable[Durations]) -> Durations:
    buckets: Counter[int] = Counter()
    total_ms = 0.0
    for each in durations:
        total_ms += each.total_ms
        buckets.update(each.buckets)
    return Durations(total_ms, buckets)


def unpack_totals(reply: Sequence[bytes]) -> Totals:
    """Unpack the hash of totals without invalid entries, which somebody may have edited in Redis."""
    found: dict[tuple[str, str], int] = {}
    for name, number in zip(reply[::2], reply[1::2], strict=True):
        if is_total(name, number):
            outcome, _, actor = name.partition(b":")
            found[actor.decode(errors="replace"), outcome.decode()] = int(number)
    return found


def is_total(field: bytes, value: bytes) -> bool:
    """Return True if a field of the hash of totals and its value are valid."""
    return field.partition(b":")[0] in _OUTCOMES and value.isdigit()
