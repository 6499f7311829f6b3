"""What the history says about its own completeness: marked holes, rows set aside, and claims that cannot be true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from ..history.completeness import Completeness, Hole
from .characters import Checked
from .problem import Kind, Problem
from .remedies import Scopes, to_collect, to_fill

#: How far the clocks of two hosts may be apart.
_CLOCK_SKEW_MS = 300_000
_WRONG = "the row of history_coverage or history_holes was changed in the database: restore it from a backup"
_AHEAD = (
    "the clock of a host was ahead when it saved this, or the clock here is slow: set it right (see: nomad doctor). "
    "The next collection then takes the claim back: "
)


def marked_holes(covered: Completeness, character: Checked, scopes: Scopes) -> Iterator[Problem]:
    """Yield the holes that the history marks, with what can be done."""
    for hole in covered.holes:
        kind = Kind.FILLABLE_HOLE if hole.can_be_filled else Kind.LOST_HOLE
        remedy = to_fill(character, hole, scopes)
        yield _problem(kind, covered, f"{hole.cause}: {hole.details}", remedy, hole.from_ms, hole.until_ms)


def wrong_claims(
    covered: Completeness, character: Checked, scopes: Scopes, now_ms: int, newest_ms: int | None
) -> Iterator[Problem]:
    """Yield the claims of `covered` that cannot be true.

    `newest_ms` is the time of the newest data that ESI sent for it; None if that is not known.
    """
    ahead = _AHEAD + to_collect(character, covered.data_type, scopes)
    since_ms, until_ms = covered.complete_since_ms, covered.complete_until_ms
    if since_ms is not None and until_ms is not None:
        if until_ms > now_ms + _CLOCK_SKEW_MS:
            cause = f"it claims to be complete until {_utc(until_ms)}, which is in the future"
            yield _problem(Kind.COVERAGE, covered, cause, ahead, since_ms, until_ms)
            newest_ms = None
        yield from _wrong_span(covered, since_ms, until_ms, newest_ms)
    elif covered.holes:
        yield _problem(Kind.COVERAGE, covered, "it has holes, but no time is covered", _WRONG, None, None)
    for hole in covered.holes:
        if hole.from_ms > hole.until_ms:
            yield _of_hole(covered, hole, "ends before it begins", _WRONG)
        elif hole.until_ms > now_ms + _CLOCK_SKEW_MS:
            yield _of_hole(covered, hole, "ends in the future", ahead)


def _wrong_span(covered: Completeness, since_ms: int, until_ms: int, newest_ms: int | None) -> Iterator[Problem]:
    causes = []
    if since_ms > until_ms:
        causes.append(f"it is complete since {_utc(since_ms)}, after {_utc(until_ms)}, until when it is complete")
    if newest_ms is not None and until_ms > newest_ms:
        causes.append(f"it claims to be complete until {_utc(until_ms)}, but ESI's newest data is of {_utc(newest_ms)}")
    for cause in causes:
        yield _problem(Kind.COVERAGE, covered, cause, _WRONG, since_ms, until_ms)


def set_aside(covered: Completeness, rows: Iterable[tuple[str, int]]) -> Iterator[Problem]:
    """Yield the routes of which rows of the current document are set aside: pairs of route and count."""
    for route, count in rows:
        cause = f"{count} of the current rows of {route} could not be stored"
        remedy = "see the reasons in the table set_aside_rows, and report them: a newer release stores them then"
        yield _problem(Kind.SET_ASIDE, covered, cause, remedy, None, None)


def _of_hole(covered: Completeness, hole: Hole, what: str, remedy: str) -> Problem:
    cause = f"the hole from {_utc(hole.from_ms)} to {_utc(hole.until_ms)} {what}"
    return _problem(Kind.COVERAGE, covered, cause, remedy, hole.from_ms, hole.until_ms)


def _problem(
    kind: Kind, covered: Completeness, cause: str, remedy: str, from_ms: int | None, until_ms: int | None
) -> Problem:
    return Problem(kind, covered.character_id, covered.data_type, cause, remedy, from_ms=from_ms, until_ms=until_ms)


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
