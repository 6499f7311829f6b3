"""The completeness of all characters together: how many holes there are, and whose history ESI will soon not show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..database import Database
from ..invalid_rows import fit
from ..login_keys import ACTIVE
from ..schema import characters, history_coverage, history_holes, sync_state
from .completeness import DATA_TYPE_BY_ROUTE, RETENTION_MS, DataType, shown_since_ms

#: The route that was asked, if ESI was ever asked for a data type that it shows for a limited time.
_ROUTES: Mapping[DataType, str] = {
    data_type: route for route, data_type in DATA_TYPE_BY_ROUTE.items() if RETENTION_MS[data_type] is not None
}
_COVERAGE, _HOLES = history_coverage.c, history_holes.c
_UNTIL_MS = sa.func.coalesce(_COVERAGE.complete_until_ms, characters.c.created_ms)
# JSON has no equality in PostgreSQL.
_GRANTED = sa.cast(characters.c.scopes, sa.Text)
#: How many characters are named.
_NAMED = 3


@dataclass(frozen=True)
class AtRisk:
    """How many characters have a data type of which ESI will soon not show what was not read, and who is worst off."""

    data_type: str
    characters: int
    #: Up to when the history of the character that is furthest behind is complete; None without characters.
    oldest_until_ms: int | None
    #: Ids and names of the few that are furthest behind.
    first: tuple[tuple[int, str], ...] = ()


def count_holes(database: Database) -> dict[tuple[str, str], int]:
    """Return the holes of active characters, by data type and cause.

    Raises `Unavailable`.
    """
    query = (
        sa.select(_HOLES.data_type, _HOLES.cause, sa.func.count())
        .join(characters, characters.c.character_id == _HOLES.character_id)
        .where(characters.c.state == ACTIVE)
        .group_by(_HOLES.data_type, _HOLES.cause)
    )
    with database.unmigrated() as connection:
        return {(data_type, cause): int(count) for data_type, cause, count in connection.execute(query)}


def count_fillable(database: Database, now_ms: int) -> int:
    """Return how many active characters have a hole that ESI can still fill.

    Raises `Unavailable`.
    """
    query = (
        sa.select(sa.func.count(_HOLES.character_id.distinct()))
        .join(characters, characters.c.character_id == _HOLES.character_id)
        .where(characters.c.state == ACTIVE, _is_fillable(now_ms))
    )
    with database.unmigrated() as connection:
        return int(connection.execute(query).scalar_one())


def read_at_risk(database: Database, now_ms: int, share: float, scopes: Mapping[DataType, Set[str]]) -> list[AtRisk]:
    """Return for each data type who was last read completely longer ago than a `share` of the time that ESI shows.

    Counted are active characters that ESI was asked about, and whose login has the `scopes` of the data type. Raises
    `Unavailable`.
    """
    with database.unmigrated() as connection:
        return [_at_risk(connection, database, each, now_ms, share, scopes[each]) for each in _ROUTES]


def urgent(database: Database, now_ms: int, share: float) -> set[tuple[int, str]]:
    """Return the characters and data types with a hole that ESI can still fill, or with less than `share` left.

    Raises `Unavailable`.
    """
    holes = sa.select(_HOLES.character_id, _HOLES.data_type).where(_is_fillable(now_ms)).distinct()
    late = sa.select(_COVERAGE.character_id, _COVERAGE.data_type).where(
        sa.or_(
            *(
                sa.and_(_COVERAGE.data_type == each, _COVERAGE.complete_until_ms < _limit_ms(each, now_ms, share))
                for each in _ROUTES
            )
        )
    )
    with database.read() as connection:
        return {(row[0], row[1]) for query in (holes, late) for row in connection.execute(query)}


def _is_fillable(now_ms: int) -> sa.ColumnElement[bool]:
    # As `can_be_filled` says of one hole. No alert and no count of the doctor names the others: nobody can do anything.
    is_shown = sa.or_(
        *(sa.and_(_HOLES.data_type == each, _HOLES.until_ms > shown_since_ms(each, now_ms)) for each in _ROUTES)
    )
    return sa.and_(_HOLES.cause != "unseen", is_shown)


def _limit_ms(data_type: str, now_ms: int, share: float) -> int:
    return now_ms - int((RETENTION_MS[data_type] or 0) * share)


def _at_risk(
    connection: Connection, database: Database, data_type: DataType, now_ms: int, share: float, scopes: Set[str]
) -> AtRisk:
    limit_ms = _limit_ms(data_type, now_ms, share)
    rows = [row for row in _by_scopes(connection, database, data_type, limit_ms) if scopes <= {*json.loads(row[0])}]
    oldest, count = min((row[2] for row in rows), default=None), sum(row[1] for row in rows)
    first = _first(connection, database, data_type, limit_ms, [row[0] for row in rows]) if count else ()
    return AtRisk(data_type, count, oldest, first)


def _by_scopes(
    connection: Connection, database: Database, data_type: DataType, limit_ms: int
) -> Iterator[tuple[str, int, int]]:
    """Yield scopes, as they are stored, with the number of characters at risk and the oldest time; there are few."""
    query = _asked(
        database,
        data_type,
        _GRANTED,
        sa.cast(sa.func.sum(sa.case((limit_ms > _UNTIL_MS, 1), else_=0)), sa.BigInteger),
        sa.func.min(_UNTIL_MS),
    )
    for text, count, oldest_ms in connection.execute(query.group_by(_GRANTED)):
        yield text, int(count), int(oldest_ms)


def _first(
    connection: Connection, database: Database, data_type: DataType, limit_ms: int, granted: Sequence[str]
) -> tuple[tuple[int, str], ...]:
    query = _asked(database, data_type, characters.c.character_id, characters.c.name).where(
        limit_ms > _UNTIL_MS, _GRANTED.in_(granted)
    )
    rows = connection.execute(query.order_by(_UNTIL_MS, characters.c.character_id).limit(_NAMED))
    return tuple((row[0], row[1]) for row in rows)


def _asked(database: Database, data_type: DataType, *columns: Any) -> sa.Select[Any]:
    """Return the query of active characters that ESI was asked about."""
    known = sa.and_(_COVERAGE.character_id == characters.c.character_id, _COVERAGE.data_type == data_type)
    was_asked = sa.exists().where(
        sync_state.c.character_id == characters.c.character_id, sync_state.c.route == _ROUTES[data_type]
    )
    return (
        sa.select(*columns)
        .select_from(characters)
        .outerjoin(history_coverage, known)
        .where(
            characters.c.state == ACTIVE,
            fit(database, characters.c.scopes, characters.c.created_ms),
            sa.or_(_COVERAGE.complete_until_ms.is_not(None), was_asked),
        )
    )
