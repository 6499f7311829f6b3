"""ESI's stored documents, and the refresh that a reader asks for when one is too old."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BadInput
from ..logs.foreign_text import safe_repr
from ..store import ACTIVE, RouteState, Store
from .moments import to_datetime
from .rows import Document

if TYPE_CHECKING:
    from ..esi import Route
    from ..queues import AddedJob


class Refresh(Protocol):
    """Adds a refresh job, unless one waits already; `skip_cache` although our own interval has not passed."""

    def __call__(self, character_id: int, user_id: int, route: str, *, skip_cache: bool) -> AddedJob: ...


def add_refresh(character_id: int, user_id: int, route: str, *, skip_cache: bool) -> AddedJob:
    """Add the job to this process's queues.

    Raises `NomadError` if it has none, and the same errors as `Queues.add_job`.
    """
    # Imported here: the queues take long to import, and most readers ask for no refresh.
    from ..jobs.esi_refresh import refresh_stale_data

    return refresh_stale_data(character_id, user_id, route, skip_cache=skip_cache)


@dataclass(frozen=True)
class Reading:
    """What is read: a route of a character, whose state says whether it can be refreshed, at a time."""

    character_id: int
    user_id: int
    character_state: str
    route: Route
    now_ms: int


def route_of(endpoint: str) -> Route:
    """Return the route of an endpoint in any spelling.

    Raises `BadInput` with the closest routes.
    """
    # Imported here: ESI's client takes long to import, and lists do not need it.
    from ..esi.routes import normalise

    return normalise(endpoint)


def age_ms(value: timedelta | float | None) -> int | None:
    """Return `refresh_if_older` in milliseconds.

    Raises `BadInput`.
    """
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e10:
        raise BadInput(f"refresh_if_older {safe_repr(value, 100)} is invalid (allowed: a timedelta, or seconds from 0)")
    return int(seconds * 1000)


def read_document(store: Store, reading: Reading, older_ms: int | None, refresh: Refresh) -> Document | None:
    """Return the stored document, and ask for a refresh if it is older than `older_ms`.

    Raises `Unavailable`.
    """
    state, body = _stored(store, reading)
    added = None
    if older_ms is not None and _needs_refresh(reading, state, older_ms):
        skip_cache = state is not None and not _interval_passed(reading, state)
        added = refresh(reading.character_id, reading.user_id, reading.route.name, skip_cache=skip_cache)
    return None if body is None else replace(_document(reading.route, state, body), refresh=added)


def _stored(store: Store, reading: Reading) -> tuple[RouteState | None, Any]:
    # In one transaction, so that a body never gets another one's times.
    with store.database.read():
        found = store.documents.body(reading.character_id, reading.route.name)
        return store.documents.state(reading.character_id, reading.route.name), found


def _needs_refresh(reading: Reading, state: RouteState | None, older_ms: int) -> bool:
    if reading.character_state != ACTIVE:
        return False
    if state is None or state.as_of_ms is None:
        return True
    # Until then ESI has nothing newer, or refuses to show it.
    waits_until_ms = max(state.fresh_until_ms or 0, state.refused_until_ms or 0)
    return reading.now_ms - state.as_of_ms > older_ms and reading.now_ms >= waits_until_ms


def _interval_passed(reading: Reading, state: RouteState) -> bool:
    return reading.now_ms >= (state.synced_ms or 0) + reading.route.interval_seconds * 1000


def _document(route: Route, state: RouteState | None, body: Any) -> Document:
    as_of_ms, fresh_ms = (None, None) if state is None else (state.as_of_ms, state.fresh_until_ms)
    return Document(
        body=body,
        as_of=None if as_of_ms is None else to_datetime(as_of_ms),
        fresh_until=None if fresh_ms is None else to_datetime(fresh_ms),
        etag=None if state is None else state.etag,
        route=route.name,
    )
