"""The characters whose history is shown or checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from ...errors import UnknownCharacter
from ..database import Database
from ..invalid_rows import fit
from ..logins import NEEDS_LOGIN
from ..ownership import SOLD
from ..schema import characters


class Checked(NamedTuple):
    """One character, and what its login allows."""

    character_id: int
    user_id: int
    name: str
    state: str
    scopes: frozenset[str]

    @property
    def is_sold(self) -> bool:
        """Whether it is an archive of an earlier owner, for which ESI is not asked."""
        return self.state == SOLD

    @property
    def needs_login(self) -> bool:
        """Whether its player must log in before ESI can be asked again."""
        return self.state == NEEDS_LOGIN


def find_characters(database: Database, character_ids: Sequence[int]) -> list[Checked]:
    """Return the characters with these ids, by id; all, if none is given.

    Raises `UnknownCharacter`, `Unavailable`.
    """
    column = characters.c
    # Scopes that were edited by hand and are no list allow nothing.
    scopes = sa.case((fit(database, column.scopes), column.scopes))
    query = sa.select(column.character_id, column.user_id, column.name, column.state, scopes)
    if character_ids:
        query = query.where(column.character_id.in_(character_ids))
    with database.read() as connection:
        rows = connection.execute(query.order_by(column.character_id))
        found = [Checked(*row[:4], frozenset(row[4] or ())) for row in rows]
    unknown = sorted({*character_ids} - {each.character_id for each in found})
    if unknown:
        raise UnknownCharacter(f"character {unknown[0]} never logged in; list them: nomad characters")
    return found
