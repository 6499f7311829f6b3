"""The lock on a character: the first statement of every transaction that changes its history or held responses.

Such a transaction concludes what to write from what it has read: what is proven, which orders are open. It must not be
overtaken by another one between the two. Taken first and exclusively, because a lock that two transactions share and
then both want for themselves never comes.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .schema import characters

_OWNER = sa.select(characters.c.owner_hash).where(characters.c.character_id == sa.bindparam("of_character"))
_EXCLUSIVE, _SHARED = _OWNER.with_for_update(key_share=True), _OWNER.with_for_update(read=True)


def lock(connection: Connection, character_id: int) -> str:
    """Let nobody else change the character's history until this transaction ends; return its owner's hash, or ''.

    Rows that name the character may still be added. SQLite has one writer anyway.
    """
    return connection.execute(_EXCLUSIVE, {"of_character": character_id}).scalar() or ""


def keep_owner(connection: Connection, character_id: int) -> str:
    """Let no new owner log the character in until this transaction ends; return its owner's hash, or ''.

    Many may do so at once, but none of them may `lock` it afterwards.
    """
    return connection.execute(_SHARED, {"of_character": character_id}).scalar() or ""
