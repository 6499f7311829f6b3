"""The responses of listings that are not read to their end, so that the next step or another process goes on there.

All responses of a listing belong to one set, which its first one identifies. Whoever adds one names the set that it
read: if another job has begun a new set, nothing is added, so two jobs never mix their responses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..clock import Clock
from .character_lock import lock
from .database import Database
from .packed_body import pack, unpack
from .schema import listing_pages, sync_state

if TYPE_CHECKING:
    from ..esi import EsiResponse

#: How many responses are held of the listing of a row of `sync_state`.
PAGES_HELD = (
    sa.select(sa.func.count())
    .select_from(listing_pages)
    .where(
        listing_pages.c.character_id == sync_state.c.character_id,
        listing_pages.c.route == sync_state.c.route,
    )
    .scalar_subquery()
    .label("pages_held")
)


@dataclass(frozen=True)
class ListingPage:
    """One held response without its rows; see the columns of `listing_pages`."""

    page: int
    etag: str | None
    last_modified: str | None
    pages: int
    fresh_until_ms: int
    saved_ms: int


class ListingPages:
    """The held responses of all listings in `database`."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def of(self, character_id: int, route: str, *, may_be_held: bool) -> HeldListing:
        """Return one character's listing; the database is read only if responses `may_be_held`."""
        return HeldListing(self._database, self._clock, character_id, route, may_be_held=may_be_held)

    def clean(self, *, before_ms: int, limit: int, dry_run: bool) -> int:
        """Delete the responses of up to `limit` listings to which none was added since `before_ms`; return how many.

        Each listing is deleted in a transaction of its own. Raises `Unavailable`.
        """
        listing = (listing_pages.c.character_id, listing_pages.c.route)
        newest_ms = sa.func.max(listing_pages.c.saved_ms)
        query = sa.select(*listing, sa.func.count()).group_by(*listing).having(newest_ms < before_ms).limit(limit)
        with self._database.read() as connection:
            found = [tuple(row) for row in connection.execute(query)]
        if dry_run:
            return sum(pages for _, _, pages in found)
        return sum(self._delete_if_old(character_id, route, before_ms) for character_id, route, _ in found)

    def _delete_if_old(self, character_id: int, route: str, before_ms: int) -> int:
        with self._database.write() as connection:
            lock(connection, character_id)
            pages = _pages(connection, character_id, route)
            if any(page.saved_ms >= before_ms for page in pages):
                return 0
            delete_pages(connection, character_id, route)
        return len(pages)


class HeldListing:
    """The held responses of one character's listing, as one job reads and adds them."""

    def __init__(self, database: Database, clock: Clock, character_id: int, route: str, *, may_be_held: bool) -> None:
        self._database = database
        self._clock = clock
        self._character_id = character_id
        self._route = route
        self._may_be_held = may_be_held
        #: The first response of the set that this job reads.
        self._first: ListingPage | None = None

    def pages(self) -> list[ListingPage]:
        """Return the held responses without their rows, in the order of their requests.

        Raises `Unavailable`.
        """
        if not self._may_be_held:
            return []
        with self._database.read() as connection:
            pages = _pages(connection, self._character_id, self._route)
        self._first = pages[0] if pages else None
        return pages

    def bodies(self) -> list[list[Any]]:
        """Return the rows of each held response.

        Raises `Unavailable`.
        """
        query = (
            sa.select(listing_pages.c.body_json)
            .where(*_same(self._character_id, self._route))
            .order_by(listing_pages.c.page)
        )
        with self._database.read() as connection:
            return [unpack(packed) for packed in connection.execute(query).scalars()]

    def add(self, number: int, response: EsiResponse) -> ListingPage | None:
        """Hold a response and return it; return None, and hold nothing, if another job has begun another set.

        Raises `Unavailable`.
        """
        # Serialised before the transaction, which must be short.
        body_json = pack(response.body, allow_nan=True)
        added = ListingPage(
            number,
            response.etag,
            response.last_modified,
            response.pages,
            response.fresh_until_ms,
            self._clock.now_ms(),
        )
        with self._database.write() as connection:
            held = self._locked(connection)
            if number == 1 and not held:
                self._first = added
            elif self._first is None or held[:1] != [self._first] or len(held) < number - 1:
                return None
            elif len(held) >= number:
                return held[number - 1]
            connection.execute(
                sa.insert(listing_pages).values(
                    character_id=self._character_id, route=self._route, body_json=body_json, **vars(added)
                )
            )
        self._may_be_held = True
        return added

    def discard(self) -> None:
        """Delete the responses of the set that this job read, but not those of another one.

        Raises `Unavailable`.
        """
        with self._database.write() as connection:
            if self._first is not None and self._locked(connection)[:1] == [self._first]:
                delete_pages(connection, self._character_id, self._route)
        self._first = None

    def _locked(self, connection: Connection) -> list[ListingPage]:
        """Return the held responses, which nobody else changes until the transaction ends."""
        lock(connection, self._character_id)
        return _pages(connection, self._character_id, self._route)


def delete_pages(connection: Connection, character_id: int, route: str) -> None:
    """Delete what is held of a listing, in a transaction that has locked the character."""
    connection.execute(sa.delete(listing_pages).where(*_same(character_id, route)))


def _pages(connection: Connection, character_id: int, route: str) -> list[ListingPage]:
    columns = [listing_pages.c[name] for name in ListingPage.__dataclass_fields__]
    query = sa.select(*columns).where(*_same(character_id, route)).order_by(listing_pages.c.page)
    return [ListingPage(*row) for row in connection.execute(query)]


def _same(character_id: int, route: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return listing_pages.c.character_id == character_id, listing_pages.c.route == route
