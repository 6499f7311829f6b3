"""The characters whose history is shown or checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from ...errors import UnknownCharacter
from ..database import Database
from ..ownership import SOLD
from ..schema import characters


class Checked(NamedTuple):
    """One character; `is_sold` if it is an archive of an earlier owner, for which ESI is not asked."""

    character_id: int
    user_id: int
    name: str
    is_sold: bool


def find_characters(database: Database, character_ids: Sequence[int]) -> list[Checked]:
    """Return the characters with these ids, by id; all, if none is given.

    Raises `UnknownCharacter`, `Unavailable`.
    """
    column = characters.c
    query = sa.select(column.character_id, column.user_id, column.name, column.state == SOLD)
    if character_ids:
        query = query.where(column.character_id.in_(character_ids))
    with database.read() as connection:
        found = [Checked._make(row) for row in connection.execute(query.order_by(column.character_id))]
    unknown = sorted({*character_ids} - {each.character_id for each in found})
    if unknown:
        raise UnknownCharacter(f"character {unknown[0]} never logged in; list them: nomad characters")
    return found
