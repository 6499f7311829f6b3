"""Rows of ESI's responses that were not stored as they came, each with its reason; the other rows were stored.

A row that comes again only gets a new time. Entries are never removed: a row that ESI no longer sends, or that can be
stored now, is no longer counted in `sync_state.set_aside`, which is about the current document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .. import exact_json
from .database import Database
from .invalid_rows import fits
from .login_keys import ACTIVE
from .schema import characters, set_aside_rows, sync_state
from .upsert import upsert

if TYPE_CHECKING:
    from ..esi.response import SetAside

#: The part of a row that is kept.
MAX_CHARACTERS = 4_000
_REPAIRED = "stored with U+FFFD instead"


def save_set_aside(
    connection: Connection, character_id: int, route: str, rows: Sequence[SetAside], now_ms: int
) -> None:
    """Save the rows of one response; those that are known only get `now_ms` as their last time."""
    entries = [_entry(character_id, route, row, now_ms) for row in rows]
    upsert(
        connection,
        set_aside_rows,
        entries,
        keys=("character_id", "route", "digest"),
        unchanged=("reason", "row_json", "first_seen_ms"),
    )


@dataclass(frozen=True)
class SetAsideRows:
    """How many rows of the current documents of one route are set aside, and of how many characters."""

    route: str
    rows: int
    characters: int


def set_aside_now(database: Database) -> list[SetAsideRows]:
    """Return the counts of every route that an active character has, also those of zero.

    Raises `Unavailable`.
    """
    has_any = sa.func.sum(sa.case((sync_state.c.set_aside > 0, 1), else_=0))
    query = (
        sa.select(sync_state.c.route, sa.func.sum(sync_state.c.set_aside), has_any)
        .join(characters, characters.c.character_id == sync_state.c.character_id)
        .where(fits(database, sync_state), characters.c.state == ACTIVE)
        .group_by(sync_state.c.route)
        .order_by(sync_state.c.route)
    )
    with database.unmigrated() as connection:
        return [SetAsideRows(route, int(rows), int(of)) for route, rows, of in connection.execute(query)]


def latest_reason(database: Database, route: str) -> str | None:
    """Return why the last row of `route` was set aside.

    Raises `Unavailable`.
    """
    query = (
        sa.select(set_aside_rows.c.reason)
        .where(set_aside_rows.c.route == route, ~set_aside_rows.c.reason.startswith(_REPAIRED))
        .order_by(set_aside_rows.c.last_seen_ms.desc())
        .limit(1)
    )
    with database.unmigrated() as connection:
        return connection.execute(query).scalar()


def _entry(character_id: int, route: str, row: SetAside, now_ms: int) -> dict[str, Any]:
    text = _json(row.row)
    return {
        "character_id": character_id,
        "route": route,
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "reason": f"{_REPAIRED}: {row.reason}" if row.is_stored else row.reason,
        "row_json": text[:MAX_CHARACTERS],
        "first_seen_ms": now_ms,
        "last_seen_ms": now_ms,
    }


def _json(row: Any) -> str:
    try:
        # Escaped: PostgreSQL rejects NUL and halves of surrogate pairs.
        return exact_json.dumps(row, sort_keys=True, allow_nan=True)
    except RecursionError:
        return '"nested too deeply to be kept"'
