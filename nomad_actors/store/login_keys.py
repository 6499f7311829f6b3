"""The keys of the stored logins, and the check that none of them is missing.

Each stored token contains the id of its key (see `cipher`). A login whose player must log in again anyway does not
count: its token is useless.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..errors import CannotStart
from ..logs.counted import counted
from . import schema
from .database import Database

#: A stored token begins with `v1.` and the key's id.
_BEFORE_ID, ID_CHARACTERS = 3, 8

#: The id of the key that a login's refresh token was encrypted with.
KEY_ID = sa.func.substr(schema.logins.c.refresh_token, _BEFORE_ID + 1, ID_CHARACTERS)
ACTIVE = "active"


def logins_by_key(connection: Connection) -> Mapping[str, int]:
    """Return the number of working logins by key id."""
    if not sa.inspect(connection).has_table(schema.logins.name):
        return {}
    query = (
        sa.select(KEY_ID, sa.func.count())
        .join(schema.characters, schema.characters.c.character_id == schema.logins.c.character_id)
        .where(schema.characters.c.state == ACTIVE)
        .group_by(KEY_ID)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def stored_logins_by_key(database: Database) -> Mapping[str, int]:
    """Return `logins_by_key` of a database without migrating it; raises `Unavailable`."""
    # Also False for a directory that we may not read; writing to it will report that.
    if database.is_sqlite and not os.path.exists(database.url.database or ""):
        return {}
    with database.unmigrated() as connection:
        return logins_by_key(connection)


def refuse_lost_keys(logins: Mapping[str, int], key_ids: Sequence[str], source: str) -> None:
    """Raise `CannotStart` if logins were encrypted with a key that is not in `key_ids`, the keys of `source`."""
    lost = {key_id: count for key_id, count in logins.items() if key_id not in key_ids}
    if not lost:
        return
    stored = " and ".join(f"{counted(count, 'login')} with key {key_id}" for key_id, count in sorted(lost.items()))
    present = f"{source} contains key {', '.join(key_ids)}" if key_ids else f"{source} is missing"
    commands = "; ".join(f"nomad forget-key {key_id}" for key_id in sorted(lost))
    raise CannotStart(
        f"the database has {stored}, but {present}",
        f"put the lost key back (at the end of NOMAD_TOKEN_KEYS, or as its old file), or have their players "
        f"log in again: {commands}",
    )
