"""Reads how each route of each character is, without changing anything: for the admin, the command line and a scrape.

Aggregates are made for the characters of one page only; which characters need attention is one pass over the routes,
whatever the page.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .database import Database
from .invalid_rows import fit
from .login_keys import ACTIVE
from .logins import NEEDS_LOGIN
from .ownership import SOLD
from .schema import characters, logins, set_aside_rows, sync_state

_DAY_MS = 86_400_000

STATES = (ACTIVE, NEEDS_LOGIN, SOLD)
#: The ranks of the list: SSO rejects the login, which may still be saved; the player must log in; a route needs
#: attention; nothing does.
_DYING, _LOGIN, _ROUTES, _NOTHING = range(4)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When the routes are read, and before and since which times a route counts as late and as subscribed."""

    now_ms: int
    late_before_ms: int
    subscribed_since_ms: int
    #: How often each route is requested (ms): what is overdue is compared with it.
    intervals_ms: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class CharacterFilter:
    """Which characters to list: of a state, of a user, with this in the name or as the id; None means any."""

    state: str | None = None
    user_id: int | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class CharacterStatus:
    """One character with the numbers of its routes; times are ms since the epoch."""

    character_id: int
    user_id: int
    name: str
    state: str
    state_reason: str | None
    state_changed_ms: int
    scopes: frozenset[str]
    offline_since_ms: int | None
    #: Its rank in the list, the first part of the cursor.
    rank: int
    #: How often SSO rejected a login that is still active, and when last.
    strikes: int = 0
    last_strike_ms: int | None = None
    routes: int = 0
    #: Subscribed routes whose refresh is overdue.
    late: int = 0
    #: Routes whose last attempts failed, and those that ESI refuses now.
    failing: int = 0
    refused: int = 0
    #: Rows of all routes that could not be stored.
    set_aside: int = 0
    synced_ms: int | None = None
    next_due_ms: int | None = None
    #: Of the late routes the one that is overdue for most of its own intervals, and since when it was due.
    overdue_route: str | None = None
    overdue_since_ms: int | None = None
    #: Of the failing routes the one that failed most often in a row, how often, and its last error.
    failed_route: str | None = None
    failures: int = 0
    error: str | None = None

    @property
    def needs_attention(self) -> bool:
        return self.rank != _NOTHING


@dataclass(frozen=True, kw_only=True)
class RouteStatus:
    """The last attempt and success of one route of one character; see the columns of `sync_state`."""

    route: str
    attempted_ms: int | None
    synced_ms: int | None
    as_of_ms: int | None
    fresh_until_ms: int | None
    changed_ms: int | None
    next_due_ms: int
    queued_ms: int | None
    asked_ms: int | None
    failures: int
    error: str | None
    request_id: str | None
    refused_until_ms: int | None
    refusals: int
    set_aside: int


@dataclass(frozen=True)
class Refusal:
    """One route of one character that ESI refuses: nothing is sent until `until_ms`."""

    character_id: int
    route: str
    until_ms: int
    refusals: int
    reason: str | None
    request_id: str | None


def read_characters(
    database: Database,
    moment: Moment,
    chosen: CharacterFilter,
    *,
    limit: int,
    after: tuple[int, int] | None = None,
) -> tuple[list[CharacterStatus], tuple[int, int] | None]:
    """Return a page of characters, those that need attention first, and the cursor of the next page (None: the last).

    `after` is a cursor. Rows that cannot be read are left out. Raises `Unavailable`.
    """
    # IN and not EXISTS: that one would visit every route in the order of an index, which takes SQLite thrice as long.
    troubled = characters.c.character_id.in_(_troubled(moment))
    dying = characters.c.character_id.in_(sa.select(logins.c.character_id).where(logins.c.strikes > 0))
    rank = sa.case(
        (sa.and_(characters.c.state == ACTIVE, dying), _DYING),
        (characters.c.state == NEEDS_LOGIN, _LOGIN),
        (sa.and_(characters.c.state == ACTIVE, troubled), _ROUTES),
        else_=_NOTHING,
    )
    # Materialized: the pass over the routes would be repeated wherever the rank is used.
    ranked = sa.select(characters.c.character_id, rank.label("rank")).where(_matches(chosen)).cte("ranked")
    ranked = ranked.prefix_with("MATERIALIZED")
    query = sa.select(ranked).order_by(ranked.c.rank, ranked.c.character_id).limit(limit + 1)
    if after is not None:
        query = query.where(sa.tuple_(ranked.c.rank, ranked.c.character_id) > after)
    with database.read() as connection:
        found = [(row.character_id, row.rank) for row in connection.execute(query)]
        page = dict(found[:limit])
        read = _read_page(connection, database, moment, page)
    last = None if len(found) <= limit else (found[limit - 1][1], found[limit - 1][0])
    return [read[character_id] for character_id in page if character_id in read], last


def count_characters(database: Database, chosen: CharacterFilter) -> int:
    """Return how many characters match; raises `Unavailable`."""
    with database.read() as connection:
        return connection.execute(
            sa.select(sa.func.count()).select_from(characters).where(_matches(chosen))
        ).scalar_one()


def read_character(
    database: Database, moment: Moment, character_id: int
) -> tuple[CharacterStatus, list[RouteStatus]] | None:
    """Return one character with its routes, or None if it is unknown; raises `Unavailable`."""
    columns = [sync_state.c[name] for name in RouteStatus.__dataclass_fields__]
    query = (
        sa.select(*columns)
        .where(sync_state.c.character_id == character_id, fit(database, *columns))
        .order_by(sync_state.c.route)
    )
    with database.read() as connection:
        found = _read_page(connection, database, moment, {character_id: _NOTHING})
        routes = [RouteStatus(**row._mapping) for row in connection.execute(query)]
    return (found[character_id], routes) if character_id in found else None


def read_subscribed(database: Database, moment: Moment, character_ids: Sequence[int] | None) -> list[tuple[int, str]]:
    """Return the subscribed routes of active characters, of these or of all, as character and route, sorted by route.

    Raises `Unavailable`.
    """
    query = (
        sa.select(sync_state.c.character_id, sync_state.c.route)
        .join(characters, characters.c.character_id == sync_state.c.character_id)
        .where(characters.c.state == ACTIVE, sync_state.c.asked_ms >= moment.subscribed_since_ms)
        .order_by(sync_state.c.route, sync_state.c.character_id)
    )
    if character_ids is not None:
        query = query.where(sync_state.c.character_id.in_(character_ids))
    with database.read() as connection:
        return [(character_id, route) for character_id, route in connection.execute(query)]


def count_late(database: Database, moment: Moment, scopes: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return how many characters have each route late, by route; `scopes` are those that each route needs.

    Not late is what is not subscribed: characters that need a login or lack a scope, routes that nobody requests.
    Raises `Unavailable`.
    """
    # JSON has no equality in PostgreSQL. Few sets of scopes exist, so few rows are returned.
    granted = sa.cast(characters.c.scopes, sa.Text)
    query = (
        sa.select(sync_state.c.route, granted, sa.func.count())
        .join(characters, characters.c.character_id == sync_state.c.character_id)
        .where(characters.c.state == ACTIVE, fit(database, characters.c.scopes), _is_late(moment))
        .group_by(sync_state.c.route, granted)
    )
    late: Counter[str] = Counter()
    with database.read() as connection:
        for route, text, count in connection.execute(query):
            if route in scopes and set(json.loads(text)).issuperset(scopes[route]):
                late[route] += count
    return dict(late)


def count_refusals(database: Database, now_ms: int) -> dict[str, int]:
    """Return how many characters ESI refuses each route for, by route; raises `Unavailable`."""
    query = sa.select(sync_state.c.route, sa.func.count()).where(_is_refused(now_ms)).group_by(sync_state.c.route)
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def read_refusals(database: Database, now_ms: int, *, limit: int, offset: int) -> list[Refusal]:
    """Return the refusals, the last attempt first; raises `Unavailable`."""
    names = ("character_id", "route", "refused_until_ms", "refusals", "error", "request_id")
    columns = [sync_state.c[name] for name in names]
    # The page first: SQLite would check that values fit in every row.
    page = (
        sa.select(*columns)
        .where(_is_refused(now_ms))
        .order_by(sync_state.c.attempted_ms.desc(), sync_state.c.character_id, sync_state.c.route)
        .limit(limit)
        .offset(offset)
    )
    with database.read() as connection:
        return [Refusal(*row) for row in connection.execute(page)]


def _read_page(
    connection: Connection, database: Database, moment: Moment, ranks: Mapping[int, int]
) -> dict[int, CharacterStatus]:
    """Return the characters with these ids, and their ranks, with the numbers of their routes."""
    names = ("character_id", "user_id", "name", "state", "state_reason", "state_changed_ms", "scopes")
    columns = [characters.c[name] for name in (*names, "offline_since_ms")]
    is_active = characters.c.state == ACTIVE
    struck = (
        sa.case((is_active, sa.func.coalesce(logins.c.strikes, 0)), else_=0).label("strikes"),
        sa.case((is_active, logins.c.last_strike_ms)).label("last_strike_ms"),
    )
    found = connection.execute(
        sa.select(*columns, *struck)
        .outerjoin(logins, logins.c.character_id == characters.c.character_id)
        .where(characters.c.character_id.in_(ranks), fit(database, *columns))
    ).all()
    counted = sa.select(
        sync_state.c.character_id,
        sa.func.count().label("routes"),
        _sum(_is_late(moment)).label("late"),
        _sum(sync_state.c.failures > 0).label("failing"),
        _sum(_is_refused(moment.now_ms)).label("refused"),
        sa.cast(sa.func.sum(sync_state.c.set_aside), sa.BigInteger).label("set_aside"),
        sa.func.max(sync_state.c.synced_ms).label("synced_ms"),
        sa.func.min(sync_state.c.next_due_ms).label("next_due_ms"),
    ).where(sync_state.c.character_id.in_(ranks))
    numbers: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for query in (
        counted.group_by(sync_state.c.character_id),
        _most_overdue(moment, ranks),
        _failing_most(ranks),
    ):
        for row in connection.execute(query):
            numbers[row.character_id] |= {name: value for name, value in row._mapping.items() if name != "character_id"}
    return {
        row.character_id: CharacterStatus(
            **{**row._mapping, "scopes": frozenset(row.scopes)},
            rank=ranks[row.character_id],
            **numbers[row.character_id],
        )
        for row in found
    }


def _most_overdue(moment: Moment, ranks: Mapping[int, int]) -> sa.Select[Any]:
    """Return the late route of each character that is overdue for most of its own intervals."""
    interval_ms = sa.case(moment.intervals_ms, value=sync_state.c.route, else_=_DAY_MS)
    overdue = (moment.now_ms - sync_state.c.next_due_ms) * 1.0 / interval_ms
    columns = (sync_state.c.route.label("overdue_route"), sync_state.c.next_due_ms.label("overdue_since_ms"))
    return _first_of_each(columns, overdue, _is_late(moment), ranks)


def _failing_most(ranks: Mapping[int, int]) -> sa.Select[Any]:
    """Return the route of each character that failed most often in a row."""
    columns = (sync_state.c.route.label("failed_route"), sync_state.c.failures, sync_state.c.error)
    return _first_of_each(columns, sync_state.c.failures, _is_failing(), ranks)


def _first_of_each(
    columns: Sequence[sa.ColumnElement[Any]],
    largest: sa.ColumnElement[Any],
    condition: sa.ColumnElement[bool],
    ranks: Mapping[int, int],
) -> sa.Select[Any]:
    """Return the row of each character whose `largest` is the largest one."""
    position = sa.func.row_number().over(
        partition_by=sync_state.c.character_id, order_by=(largest.desc(), sync_state.c.route)
    )
    rows = (
        sa.select(sync_state.c.character_id, *columns, position.label("position"))
        .where(sync_state.c.character_id.in_(ranks), condition)
        .subquery()
    )
    return sa.select(*(each for each in rows.c if each.name != "position")).where(rows.c.position == 1)


def _matches(chosen: CharacterFilter) -> sa.ColumnElement[bool]:
    conditions: list[sa.ColumnElement[bool]] = [sa.true()]
    if chosen.state is not None:
        conditions.append(characters.c.state == chosen.state)
    if chosen.user_id is not None:
        conditions.append(characters.c.user_id == chosen.user_id)
    if chosen.text is not None:
        named = characters.c.name.icontains(chosen.text, autoescape=True)
        is_id = chosen.text.isascii() and chosen.text.isdigit() and len(chosen.text) < 19
        conditions.append(sa.or_(named, characters.c.character_id == int(chosen.text)) if is_id else named)
    return sa.and_(*conditions)


def _troubled(moment: Moment) -> sa.CompoundSelect[Any]:
    """Return the characters with a route that failed, is late, or whose document has rows that were set aside."""
    character_id, rows = sync_state.c.character_id, set_aside_rows.c
    # Parts, because each can use an index of its own. A refused route has failed too.
    failing = sa.select(character_id).where(_is_failing())
    late = sa.select(character_id).where(_is_late(moment))
    incomplete = (
        sa.select(character_id)
        .join(set_aside_rows, sa.and_(rows.character_id == character_id, rows.route == sync_state.c.route))
        .where(sync_state.c.set_aside > 0)
    )
    return sa.union_all(failing, late, incomplete)


def _is_failing() -> sa.ColumnElement[bool]:
    return sa.and_(sync_state.c.error.is_not(None), sync_state.c.failures > 0)


def _is_late(moment: Moment) -> sa.ColumnElement[bool]:
    return sa.and_(
        sync_state.c.next_due_ms < moment.late_before_ms, sync_state.c.asked_ms >= moment.subscribed_since_ms
    )


def _is_refused(now_ms: int) -> sa.ColumnElement[bool]:
    return sa.and_(sync_state.c.error.is_not(None), sync_state.c.refused_until_ms > now_ms)


def _sum(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.sum(sa.case((condition, 1), else_=0)), sa.BigInteger)
