"""Whose data is kept: a sold character's data stays with its old owner, and all of a character's data can be deleted.

When another owner logs a character in, what was kept for the old one moves to an archive: a row of `characters` with a
negative id and the state `sold`, which no job and no login uses. If that owner buys the character back and logs in, the
archive moves back. Validators do not move: the next owner's data is requested in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .character_lock import lock
from .database import Database
from .schema import characters, listing_pages, logins, metadata, sync_state
from .upsert import BATCH_ROWS, upsert

#: The state of an archive.
SOLD = "sold"
#: Every table with a character's rows. The foreign keys name them, so that a new table is not forgotten.
TABLES = tuple(
    table
    for table in metadata.sorted_tables
    if any(key.column is characters.c.character_id for key in table.foreign_keys)
)
#: What an archive does not get: tokens, and what says which data need not be requested.
NOT_ARCHIVED = (logins, sync_state, listing_pages)
_ARCHIVED = tuple(table for table in TABLES if table not in NOT_ARCHIVED)
#: Held by a PostgreSQL transaction that chooses an archive's id; any number that nothing else uses.
_ARCHIVE_LOCK = 0x4E6F6D6164


@dataclass(frozen=True)
class Handover:
    """What a login changed: the archive that got the old owner's data, and whether this owner's came back from one."""

    archive_id: int | None = None
    is_restored: bool = False


def save_character(connection: Connection, character: Mapping[str, Any]) -> Handover:
    """Save the row of a character that logged in; if it has another owner than before, hand it over to that one.

    An owner hash that is missing, here or in the stored row, says nothing: then nothing moves.
    """
    character_id, owner_hash = character["character_id"], character["owner_hash"]
    stored = connection.execute(
        sa.select(characters).where(characters.c.character_id == character_id).with_for_update()
    ).one_or_none()
    is_sold = stored is not None and is_other_owner(stored.owner_hash, owner_hash)
    if stored is not None and not is_sold:
        kept = {"created_ms": stored.created_ms, "owner_hash": owner_hash or stored.owner_hash}
        upsert(connection, characters, [{**character, **kept}])
        return Handover()
    archive_id = None if stored is None else _archive(connection, stored, character["state_changed_ms"])
    upsert(connection, characters, [{**character, "offline_since_ms": None}])
    return Handover(archive_id, _restore(connection, character_id, owner_hash))


def is_other_owner(stored_hash: str, owner_hash: str) -> bool:
    """Return whether two owner hashes are those of different owners."""
    return bool(stored_hash and owner_hash) and stored_hash != owner_hash


def owner_hashes(database: Database, character_ids: Sequence[int]) -> dict[int, str]:
    """Return the stored owner hash of those characters that have logged in before; raises `Unavailable`."""
    found: dict[int, str] = {}
    with database.read() as connection:
        for start in range(0, len(character_ids), BATCH_ROWS):
            chosen = characters.c.character_id.in_(character_ids[start : start + BATCH_ROWS])
            query = sa.select(characters.c.character_id, characters.c.owner_hash).where(chosen)
            found |= {row.character_id: row.owner_hash for row in connection.execute(query)}
    return found


def user_of(database: Database, character_id: int) -> int | None:
    """Return the user of a character or of an archive, None if there is none; raises `Unavailable`."""
    query = sa.select(characters.c.user_id).where(characters.c.character_id == character_id)
    with database.read() as connection:
        found: int | None = connection.execute(query).scalar()
    return found


def count_rows(database: Database, character_id: int) -> dict[str, int]:
    """Return how many rows each table has of a character, without tables that have none; raises `Unavailable`."""
    with database.read() as connection:
        counts = {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table).where(table.c.character_id == character_id)
            ).scalar_one()
            for table in (*TABLES, characters)
        }
    return {name: count for name, count in counts.items() if count}


def delete_rows(database: Database, character_id: int) -> dict[str, int]:
    """Delete all rows of a character or of an archive in one transaction; return their numbers as `count_rows` does.

    From then on no job can save anything for it. Raises `Unavailable`.
    """
    with database.write() as connection:
        lock(connection, character_id)
        deleted = {
            table.name: connection.execute(sa.delete(table).where(table.c.character_id == character_id)).rowcount
            for table in (*TABLES, characters)
        }
    return {name: count for name, count in deleted.items() if count}


def _archive(connection: Connection, stored: sa.Row[Any], now_ms: int) -> int:
    """Move what was kept for the owner of the `stored` row to a new archive; return its id."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ARCHIVE_LOCK)))
    lowest = connection.execute(sa.select(sa.func.min(characters.c.character_id))).scalar_one()
    archive = {
        **stored._mapping,
        "character_id": min(lowest, 0) - 1,
        "state": SOLD,
        "state_reason": "another owner logged in",
        "state_changed_ms": now_ms,
        "sold_id": stored.character_id,
    }
    connection.execute(sa.insert(characters).values(archive))
    _move(connection, stored.character_id, archive["character_id"])
    for table in (sync_state, listing_pages):
        connection.execute(sa.delete(table).where(table.c.character_id == stored.character_id))
    return int(archive["character_id"])


def _restore(connection: Connection, character_id: int, owner_hash: str) -> bool:
    """Move the archive of this owner back, if there is one."""
    is_own = (characters.c.sold_id == character_id, characters.c.owner_hash == owner_hash, characters.c.state == SOLD)
    archive = connection.execute(sa.select(characters.c.character_id, characters.c.created_ms).where(*is_own)).first()
    if archive is None or not owner_hash:
        return False
    _move(connection, archive.character_id, character_id)
    same = characters.c.character_id == character_id
    connection.execute(sa.update(characters).where(same).values(created_ms=archive.created_ms))
    connection.execute(sa.delete(characters).where(characters.c.character_id == archive.character_id))
    return True


def _move(connection: Connection, from_id: int, to_id: int) -> None:
    for table in _ARCHIVED:
        connection.execute(sa.update(table).where(table.c.character_id == from_id).values(character_id=to_id))
