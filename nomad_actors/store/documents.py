"""ESI's responses: the document, its rows and its validator, written in one transaction.

The validator (ETag) must never be stored without its rows: a "not modified" response to it would lose them permanently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..clock import Clock
from ..errors import TryLater
from ..http_date import http_date_ms
from . import history
from .character_lock import keep_owner, lock
from .database import Database
from .history import Changes, Snapshot
from .history.completeness import DATA_TYPE_BY_ROUTE
from .history.rows import to_ms
from .invalid_rows import fits
from .listing_pages import PAGES_HELD, delete_pages
from .login_keys import ACTIVE
from .ownership import is_other_owner
from .packed_body import pack, unpack
from .schema import characters, documents, sync_state
from .set_aside import save_set_aside
from .upsert import upsert

if TYPE_CHECKING:
    from ..esi import EsiResponse


#: The route that says whether the player is online.
ONLINE = "/characters/{character_id}/online"


@dataclass(frozen=True, kw_only=True)
class RouteState:
    """The sync state of one route of one character; see the columns of `sync_state`."""

    character_id: int
    route: str
    etag: str | None
    last_modified: str | None
    fresh_until_ms: int | None
    as_of_ms: int | None
    synced_ms: int | None
    attempted_ms: int | None
    failures: int
    error: str | None
    request_id: str | None
    refused_until_ms: int | None
    refusals: int
    next_due_ms: int
    due_priority: int | None
    asked_ms: int | None
    queued_ms: int | None
    changed_ms: int | None
    set_aside: int
    #: Pages of the stored document; None if there is none.
    pages: int | None
    #: Responses held of a listing that is not read to its end.
    pages_held: int


@dataclass(frozen=True)
class OverdueRoute:
    """One route of one character whose refresh is overdue; `scopes` are those of its login."""

    character_id: int
    user_id: int
    scopes: frozenset[str]
    route: str
    priority: int | None


class OwnerChanged(TryLater):
    """Raised if another owner has logged the character in since the request: the data belongs to the one before."""


class Documents:
    """The documents of all characters and routes in `database`."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def state(self, character_id: int, route: str) -> RouteState | None:
        """Return the sync state of `route`, or None if there is none yet.

        Raises `Unavailable`.
        """
        with self._database.read() as connection:
            return _state(connection, character_id, route)

    def body(self, character_id: int, route: str) -> Any:
        """Return the last complete document, or None if there is none.

        Raises `Unavailable`.
        """
        with self._database.read() as connection:
            return _body(connection, character_id, route)

    def save(
        self,
        character_id: int,
        route: str,
        response: EsiResponse,
        *,
        as_of_ms: int,
        next_due_ms: int,
        owner_hash: str | None = None,
    ) -> Changes:
        """Save the rows, the document and the validator of a new response in one transaction.

        `as_of_ms` is the time of ESI's data. A response older than the saved one adds rows but replaces nothing.
        Raises `UnexpectedRow`, `Unavailable`.
        """
        # Serialised before the transaction, which must be short.
        document = {
            "character_id": character_id,
            "route": route,
            "body_json": pack(response.body),
            "pages": response.pages,
        }
        lost = [row.row for row in response.set_aside if not row.is_stored]
        now_ms = self._clock.now_ms()
        made_ms = http_date_ms(response.last_modified)
        snapshot = Snapshot(character_id, route, response.body, as_of_ms, response.request_id, lost, now_ms, made_ms)
        with self._database.write() as connection:
            _check_owner(character_id, lock(connection, character_id), owner_hash)
            if response.pages > 1:
                delete_pages(connection, character_id, route)
            state = _state(connection, character_id, route)
            is_older = state is not None and state.as_of_ms is not None and snapshot.is_older_than(state.as_of_ms)
            changes = history.absorb(connection, replace(snapshot, is_newest=not is_older))
            changes += Changes(set_aside=len(lost), repaired=len(response.set_aside) - len(lost))
            save_set_aside(connection, character_id, route, response.set_aside, now_ms)
            if is_older:
                # From a host of ESI that is behind; it is as fresh as it says, so the next request comes later.
                self._succeed(connection, character_id, route, response, next_due_ms, {})
                return changes
            upsert(connection, documents, [document])
            differs = state is None or response.etag is None or response.etag != state.etag
            values = {
                "as_of_ms": as_of_ms,
                "etag": response.etag,
                "last_modified": response.last_modified,
                "set_aside": len(lost),
            } | ({"changed_ms": now_ms} if differs else {})
            self._succeed(connection, character_id, route, response, next_due_ms, values)
            if route == ONLINE:
                _save_presence(connection, character_id, response.body, as_of_ms)
        return changes

    def renew(
        self,
        character_id: int,
        route: str,
        response: EsiResponse,
        *,
        as_of_ms: int,
        next_due_ms: int,
        owner_hash: str | None = None,
    ) -> Changes:
        """Save that the last response is still valid at `as_of_ms`, with the resulting changes.

        Raises `Unavailable`.
        """
        now_ms = self._clock.now_ms()
        made_ms = http_date_ms(response.last_modified)
        snapshot = Snapshot(character_id, route, None, as_of_ms, response.request_id, (), now_ms, made_ms)
        with self._database.write() as connection:
            # Most routes have no history: their answers need not wait for each other.
            owner_of = lock if route in DATA_TYPE_BY_ROUTE else keep_owner
            _check_owner(character_id, owner_of(connection, character_id), owner_hash)
            changes = history.renew(connection, snapshot)
            # A "not modified" response may have no validators: keep the old ones.
            validators = {"etag": response.etag, "last_modified": response.last_modified}
            values: dict[str, Any] = {"as_of_ms": as_of_ms}
            values |= {name: value for name, value in validators.items() if value}
            self._succeed(connection, character_id, route, response, next_due_ms, values)
        return changes

    def save_failure(
        self,
        character_id: int,
        route: str,
        *,
        error: str,
        request_id: str | None = None,
        refused_until_ms: int | None = None,
        was_asked: bool = True,
    ) -> None:
        """Save why `route` could not be refreshed. It counts as a failure of the route only if ESI `was_asked`.

        With `refused_until_ms` ESI refused it, and it is due again then. Otherwise it stays due until it succeeds.
        Raises `Unavailable`.
        """
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            state = _state(connection, character_id, route)
            failed: dict[str, Any] = {
                "attempted_ms": now_ms,
                "failures": (state.failures if state else 0) + was_asked,
                "error": error[:2000],
                "request_id": request_id,
            }
            if refused_until_ms is not None:
                failed |= {
                    "refused_until_ms": refused_until_ms,
                    "refusals": (state.refusals if state else 0) + 1,
                    "next_due_ms": refused_until_ms,
                }
            elif state is None:
                failed["next_due_ms"] = now_ms
            _put(connection, character_id, route, failed)

    def save_requested(
        self, character_id: int, route: str, *, due_ms: int | None = None, priority: int | None = None
    ) -> None:
        """Save that `route` was requested, so it is subscribed; with `due_ms` it is due then at the latest.

        Raises `Unavailable`.
        """
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            state = _state(connection, character_id, route)
            values: dict[str, Any] = {"asked_ms": now_ms}
            if state is None:
                values["next_due_ms"] = now_ms if due_ms is None else due_ms
            elif due_ms is not None and due_ms < state.next_due_ms:
                values["next_due_ms"] = due_ms
            if priority is not None:
                values["due_priority"] = min(priority, (state and state.due_priority) or priority)
            _put(connection, character_id, route, values)

    def overdue(
        self, *, due_before_ms: int, subscribed_since_ms: int, queued_before_ms: int, limit: int
    ) -> list[OverdueRoute]:
        """Return the routes that were due before `due_before_ms`, the longest overdue first.

        Leaves out characters that need a login, routes that were not requested since `subscribed_since_ms`, and those
        enqueued since `queued_before_ms` but not attempted yet. Raises `Unavailable`.
        """
        attempted_ms = sa.func.coalesce(sync_state.c.attempted_ms, 0)
        query = (
            sa.select(
                sync_state.c.character_id,
                characters.c.user_id,
                characters.c.scopes,
                sync_state.c.route,
                sync_state.c.due_priority,
            )
            .join(characters, characters.c.character_id == sync_state.c.character_id)
            .where(
                fits(self._database, characters, sync_state),
                characters.c.state == ACTIVE,
                sync_state.c.next_due_ms <= due_before_ms,
                sync_state.c.asked_ms >= subscribed_since_ms,
                sa.or_(
                    sync_state.c.queued_ms.is_(None),
                    sync_state.c.queued_ms <= attempted_ms,
                    sync_state.c.queued_ms <= queued_before_ms,
                ),
            )
            .order_by(sync_state.c.next_due_ms)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                OverdueRoute(row.character_id, row.user_id, frozenset(row.scopes), row.route, row.due_priority)
                for row in connection.execute(query)
            ]

    def save_queued(self, routes: Iterable[OverdueRoute]) -> None:
        """Save that these routes were enqueued now, so that `overdue` leaves them out.

        Raises `Unavailable`.
        """
        now_ms = self._clock.now_ms()
        rows = [{"of_character": each.character_id, "of_route": each.route, "queued_ms": now_ms} for each in routes]
        if rows:
            with self._database.write() as connection:
                connection.execute(_UPDATE, rows)

    def oldest_synced_ms(self) -> dict[str, int]:
        """Return for each route the oldest time of the last sync among active characters.

        Raises `Unavailable`.
        """
        query = (
            sa.select(sync_state.c.route, sa.func.min(sync_state.c.synced_ms))
            .join(characters, characters.c.character_id == sync_state.c.character_id)
            .where(fits(self._database, sync_state), characters.c.state == ACTIVE, sync_state.c.synced_ms.is_not(None))
            .group_by(sync_state.c.route)
        )
        with self._database.read() as connection:
            return {route: at_ms for route, at_ms in connection.execute(query) if at_ms is not None}

    def _succeed(
        self,
        connection: Connection,
        character_id: int,
        route: str,
        response: EsiResponse,
        next_due_ms: int,
        values: dict[str, Any],
    ) -> None:
        now_ms = self._clock.now_ms()
        succeeded: dict[str, Any] = {
            "fresh_until_ms": response.fresh_until_ms,
            "synced_ms": now_ms,
            "attempted_ms": now_ms,
            "failures": 0,
            "error": None,
            "request_id": response.request_id,
            "refused_until_ms": None,
            "refusals": 0,
            "next_due_ms": next_due_ms,
            "due_priority": None,
        }
        _put(connection, character_id, route, succeeded | values)


def _state(connection: Connection, character_id: int, route: str) -> RouteState | None:
    row = connection.execute(_STATE, {"of_character": character_id, "of_route": route}).one_or_none()
    return None if row is None else RouteState(**row._mapping)


def _body(connection: Connection, character_id: int, route: str) -> Any:
    packed = connection.execute(
        sa.select(documents.c.body_json).where(documents.c.character_id == character_id, documents.c.route == route)
    ).scalar_one_or_none()
    return None if packed is None else unpack(packed)


def _check_owner(character_id: int, stored_hash: str, owner_hash: str | None) -> None:
    """Raise `OwnerChanged` if the character has another owner than `owner_hash` (None: not known)."""
    if is_other_owner(stored_hash, owner_hash or ""):
        raise OwnerChanged(
            f"another owner has logged character {character_id} in meanwhile; its data is requested anew",
            retry_after_seconds=1,
        )


def _save_presence(connection: Connection, character_id: int, body: Any, as_of_ms: int) -> None:
    """Save since when the player is offline; without a readable time, since this response said so first."""
    offline_since_ms: Any = None
    if body.get("online") is False:
        try:
            offline_since_ms = min(to_ms(body["last_logout"]), as_of_ms)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            offline_since_ms = sa.func.coalesce(characters.c.offline_since_ms, as_of_ms)
    same = characters.c.character_id == character_id
    connection.execute(sa.update(characters).where(same).values(offline_since_ms=offline_since_ms))


#: Built once: building takes longer than executing.
_SAME = sa.and_(
    sync_state.c.character_id == sa.bindparam("of_character"), sync_state.c.route == sa.bindparam("of_route")
)
_UPDATE = sa.update(sync_state).where(_SAME)
_STATE = (
    sa.select(sync_state, documents.c.pages, PAGES_HELD)
    .outerjoin(
        documents,
        sa.and_(documents.c.character_id == sync_state.c.character_id, documents.c.route == sync_state.c.route),
    )
    .where(_SAME)
)


def _put(connection: Connection, character_id: int, route: str, values: dict[str, Any]) -> None:
    """Update the given columns, or insert a row with defaults for the others."""
    if _update(connection, character_id, route, values):
        return
    fresh = {"character_id": character_id, "route": route, "failures": 0}
    connection.execute(sa.insert(sync_state).values(fresh | values))


def _update(connection: Connection, character_id: int, route: str, values: dict[str, Any]) -> bool:
    keys = {"of_character": character_id, "of_route": route}
    return connection.execute(_UPDATE, keys | values).rowcount == 1
