"""One problem that a check of the history found: what, in which rows, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..history.completeness import Completeness


class Kind(StrEnum):
    """The kinds of problems. All are faults, except holes that the history itself marks."""

    #: Rows are missing, and the history says so: ESI still has them, or they are lost.
    FILLABLE_HOLE = "fillable hole"
    LOST_HOLE = "lost hole"
    SET_ASIDE = "rows set aside"
    BALANCE = "balance"
    REPEATED = "repeated entry"
    NO_ENTRY = "no journal entry"
    NO_TRANSACTION = "no transaction"
    STATE = "state and events"
    COVERAGE = "coverage"


#: What the history admits to lack: known, so no fault.
MARKED = frozenset({Kind.FILLABLE_HOLE, Kind.LOST_HOLE, Kind.SET_ASIDE})


@dataclass(frozen=True)
class Problem:
    """A problem of one data type of one character: in the rows `ids`, in the time from `from_ms` to `until_ms`."""

    kind: Kind
    character_id: int
    data_type: str
    cause: str
    remedy: str
    ids: tuple[int, ...] = ()
    from_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_fault(self) -> bool:
        """Whether the history is wrong; False if it only lacks what it says that it lacks."""
        return self.kind not in MARKED


def is_claimed(covered: Completeness, from_ms: int, until_ms: int) -> bool:
    """Return whether the history claims to have every row between two times, both included."""
    since_ms, complete_until_ms = covered.complete_since_ms, covered.complete_until_ms
    if since_ms is None or complete_until_ms is None:
        return False
    in_coverage = since_ms <= from_ms and until_ms < complete_until_ms
    return in_coverage and not any(hole.from_ms <= until_ms and from_ms <= hole.until_ms for hole in covered.holes)
