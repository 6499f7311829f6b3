"""The holes of all characters, the most urgent first."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from ..database import Database
from ..history.completeness import DATA_TYPES, Hole, hole_of, shown_since_ms
from ..ownership import SOLD
from ..schema import characters, history_holes

#: Later than any time in the database.
_NEVER_MS = 2**53


class FoundHole(NamedTuple):
    """A hole and its character."""

    character_id: int
    name: str
    #: Of the character.
    state: str
    hole: Hole


def all_holes(database: Database, now_ms: int, limit: int) -> tuple[list[FoundHole], int]:
    """Return `limit` holes, and how many there are: those that ESI can still fill first, by when it drops them.

    Then the others, the latest first. Raises `Unavailable`.
    """
    hole = history_holes.c
    # How long ESI still shows it; it never shows again what only the present has.
    shown_ms = hole.until_ms - sa.case(
        (hole.cause == "unseen", _NEVER_MS),
        *((hole.data_type == each, _shown_since_ms(each, now_ms)) for each in DATA_TYPES),
    )
    # Nobody is asked for the history of a sold character.
    is_lost = sa.or_(shown_ms <= 0, characters.c.state == SOLD)
    order = (is_lost, sa.case((is_lost, -hole.until_ms), else_=shown_ms), hole.hole_id)
    query = (
        sa.select(history_holes, characters.c.name, characters.c.state)
        .join(characters, characters.c.character_id == hole.character_id)
        .order_by(*order)
        .limit(limit)
    )
    with database.read() as connection:
        total = connection.execute(sa.select(sa.func.count()).select_from(history_holes)).scalar_one()
        rows = connection.execute(query).all()
        return [FoundHole(row.character_id, row.name, row.state, _hole(row, now_ms)) for row in rows], total


def _shown_since_ms(data_type: str, now_ms: int) -> int:
    since_ms = shown_since_ms(data_type, now_ms)
    return _NEVER_MS if since_ms is None else since_ms


def _hole(row: sa.Row[Any], now_ms: int) -> Hole:
    return hole_of(row, now_ms, is_sold=row.state == SOLD)
