"""The journal's chain: each entry's amount leads from the balance before it to its own, in covered time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..history.balances import Break, Entry, breaks_of
from ..history.completeness import Completeness
from .problem import Kind, Problem, is_claimed

_REMEDY = "entries are missing between the two, or a value was changed in the database: compare both with the game"
_REPEATED = "delete the one that ESI does not list"


def broken_balances(entries: Iterable[Entry], covered: Completeness) -> Iterator[Problem]:
    """Yield where two entries do not continue each other although the history claims to have all between them.

    `entries` are sorted by time and id, and may be of any number.
    """
    for each in breaks_of(entries):
        if _is_repeated(each):
            cause = f"the entry {each.after.id} repeats {each.before.id}"
            yield _problem(Kind.REPEATED, each, covered, cause, _REPEATED)
        elif is_claimed(covered, each.from_ms, each.until_ms):
            yield _problem(Kind.BALANCE, each, covered, each.describe(), _REMEDY)


def _is_repeated(found: Break) -> bool:
    before, after = found.before, found.after
    return bool(after.amount) and before._replace(id=0) == after._replace(id=0)


def _problem(kind: Kind, found: Break, covered: Completeness, cause: str, remedy: str) -> Problem:
    return Problem(
        kind,
        covered.character_id,
        covered.data_type,
        cause,
        remedy,
        ids=(found.before.id, found.after.id),
        from_ms=found.from_ms,
        until_ms=found.until_ms,
    )
