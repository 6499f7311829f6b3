"""Complete listings from several responses, read in steps that a later run goes on with.

A listing is numbered pages of one moment, or rows read down to the oldest one. Each response is held as it comes, so a
job that has read for long enough, meets a limit or dies costs at most the response that was under way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..clock import Clock
from ..errors import TryLater
from .checks import ListOf, integer
from .errors import EsiRefused, EsiUnavailable, ListingChanged, StepEnded
from .response import EsiResponse, SetAside
from .routes import Route

#: No character's listing has more; an endless one is an error, because truncating it would lose rows silently.
MAX_PAGES = 1_000
#: After this time a step sends no further request. One takes up to 10 s (ESI's own limit), so a step ends within 30 s.
STEP_SECONDS = 20.0
#: A listing is begun only if its first page stays fresh for this long, and for this much longer with each page.
BEGIN_SECONDS, PAGE_SECONDS = 15.0, 0.25
#: A listing whose pages repeat an id is stored without the repetitions after this many failures in a row.
BELIEVED_FAILURES = 3
#: When a job tries again that found another one reading the same listing.
_BUSY_SECONDS = 5.0
#: By which ids a row that is on two pages is recognised; other listings have rows without an id.
_IDS: Mapping[str, str] = {
    "wallet_journal": "id",
    "assets": "item_id",
    "blueprints": "item_id",
    "orders_history": "order_id",
}


class GetPage(Protocol):
    """Requests one page of a listing: the first one, or the one that `query` selects."""

    def __call__(
        self, *, etag: str | None = None, modified_since: str | None = None, query: dict[str, str] | None = None
    ) -> EsiResponse: ...


class HeldPage(Protocol):
    """A held response without its rows."""

    @property
    def etag(self) -> str | None: ...
    @property
    def last_modified(self) -> str | None: ...
    @property
    def pages(self) -> int: ...
    @property
    def fresh_until_ms(self) -> int: ...


class HeldPages(Protocol):
    """The responses of one listing that earlier steps have read; `store.listing_pages` keeps them."""

    def pages(self) -> Sequence[HeldPage]: ...
    def bodies(self) -> list[list[Any]]: ...
    def add(self, number: int, response: EsiResponse) -> HeldPage | None: ...
    def discard(self) -> None: ...


@dataclass(frozen=True)
class Copy:
    """The caller's copy of a listing: its validators and number of pages; without validators all of it is requested."""

    etag: str | None = None
    last_modified: str | None = None
    pages: int | None = None
    #: How many attempts in a row have failed since it was read.
    failures: int = 0


class Listing:
    """One step of reading a listing: it goes on after the held responses.

    Both ways of reading raise `StepEnded` if the step is over, and `ListingChanged` if the responses do not belong
    together; what `get` raises passes through, with what is held in its message.
    """

    def __init__(self, route: Route, get: GetPage, held: HeldPages, clock: Clock) -> None:
        self._route = route
        self._get = get
        self._held = held
        self._clock = clock
        self._began_mono = time.monotonic()
        #: `Last-Modified` of a set that was given up.
        self._given_up: str | None = None
        self._has_sent = False
        self._request_id: str | None = None

    def all_pages(self, copy: Copy) -> EsiResponse:
        """Return the rows of all numbered pages, which must have the same Last-Modified and X-Pages."""
        pages = self._fresh_pages()
        if not pages:
            first = self._first_page(copy)
            if first.not_modified or first.pages == 1:
                return first
            pages = [self._add(1, first)]
        if len(pages) == 1:
            self._check_time_left(pages[0])
        while len(pages) < pages[0].pages:
            pages.append(self._next_page(pages))
        bodies = self._held.bodies()
        self._check_empty(bodies, pages[0], is_first_attempt=copy.failures == 0)
        repeated = self._repeated(bodies)
        if repeated and copy.failures < BELIEVED_FAILURES:
            raise self._changed(repeated[0].reason, pages[0])
        key = _IDS.get(self._route.dataset)
        rows = list(_each_once(bodies, key)) if repeated and key else [row for body in bodies for row in body]
        return replace(self._assembled(pages[0], rows, pages[0].pages), set_aside=tuple(repeated))

    def all_older(self, copy: Copy, *, key: str, parameter: str) -> EsiResponse:
        """Return all rows from the newest to the oldest, each row once.

        `parameter` requests the rows from the oldest `key` on, with that row (`from_id`) or without it
        (`last_mail_id`); reading ends when a response contains nothing older.
        """
        pages = self._fresh_pages()
        if not pages:
            first = self._noted(self._get(etag=copy.etag))
            if first.not_modified or not self._rows(first):
                return replace(first, pages=1)
            self._lowest(first.body, key)
            pages = [self._add(1, first)]
        bodies = self._held.bodies()
        lowest = [self._lowest(body, key) for body in bodies]
        # Only the last response may have nothing older.
        while len(lowest) == 1 or lowest[-1] < lowest[-2]:
            if len(bodies) == MAX_PAGES:
                raise self._endless(pages[0].fresh_until_ms)
            is_believed = copy.failures >= BELIEVED_FAILURES
            body = self._next_older(bodies, int(lowest[-1]), key, parameter, is_believed=is_believed)
            bodies.append(body)
            lowest.append(self._lowest(body, key))
        repeated = _repeated_newer(bodies, lowest, key)
        found = self._assembled(pages[0], list(_each_once(bodies, key)), len(bodies))
        return replace(found, set_aside=tuple(repeated))

    def _fresh_pages(self) -> list[HeldPage]:
        """Return what earlier steps have read; raise `ListingChanged` if it ended half-way and is no longer fresh."""
        pages = list(self._held.pages())
        if not pages or self._clock.now_ms() < pages[0].fresh_until_ms:
            return pages
        self._held.discard()
        if 1 < len(pages) != pages[0].pages:
            read = _count(len(pages), pages[0].pages)
            raise ListingChanged(
                f"{self._route.name} could not be read to its end while it was fresh, only {read}; it is read anew"
            )
        self._given_up = pages[0].last_modified
        return []

    def _first_page(self, copy: Copy) -> EsiResponse:
        """Request page 1, conditionally: by ETag, or by Last-Modified if our copy or a set given up has several.

        Each page has its own ETag, and the first may be unchanged while another changed; all have one Last-Modified.
        """
        has_several = copy.pages is not None and copy.pages > 1
        if has_several or copy.etag is None:
            first = self._noted(self._get(modified_since=copy.last_modified if has_several else self._given_up))
        else:
            first = self._noted(self._get(etag=copy.etag))
        if first.not_modified and not _confirms(first, copy, has_several):
            first = self._noted(self._get())
        if first.pages > MAX_PAGES:
            raise self._endless(first.fresh_until_ms)
        if first.pages == 0 and has_several and not first.not_modified:
            raise EsiUnavailable(
                f"ESI's response for {self._route.name} does not say how many pages there are; "
                f"our copy has {copy.pages}",
                status=first.status,
                request_id=first.request_id,
            )
        self._rows(first)
        if first.not_modified:
            return replace(first, pages=copy.pages or 1)
        return replace(first, pages=max(first.pages, 1))

    def _check_time_left(self, first: HeldPage) -> None:
        left_ms = first.fresh_until_ms - self._clock.now_ms()
        needed_ms = (BEGIN_SECONDS + first.pages * PAGE_SECONDS) * 1000
        # A listing that is never fresh for so long must begin all the same.
        if left_ms >= needed_ms or self._route.cache_seconds * 1000 < needed_ms:
            return
        raise ListingChanged(
            f"{self._route.name} is not begun {left_ms / 1000:.0f} s before its {first.pages} pages change; "
            "it is read after that",
            retry_after_seconds=self._seconds_until(first.fresh_until_ms),
        )

    def _next_page(self, pages: Sequence[HeldPage]) -> HeldPage:
        first, number = pages[0], len(pages) + 1
        try:
            response = self._next({"page": str(number)}, _count(len(pages), first.pages))
        except EsiRefused as error:
            if error.status != 404:
                raise
            self._held.discard()
            raise self._changed(f"page {number} of {first.pages} does not exist", first) from error
        if (response.last_modified, response.pages) != (first.last_modified, first.pages):
            self._held.discard()
            raise ListingChanged(
                f"{self._route.name} changed while it was read: page {number} has Last-Modified "
                f"{response.last_modified} and X-Pages {response.pages}, page 1 {first.last_modified} and "
                f"{first.pages}; it is read anew",
                request_id=response.request_id,
            )
        return self._add(number, response)

    def _next_older(
        self, bodies: Sequence[list[Any]], oldest: int, key: str, parameter: str, *, is_believed: bool
    ) -> list[Any]:
        read = len(bodies)
        response = self._next({parameter: str(oldest)}, _count(read, 1))
        rows = self._rows(response)
        newer = [row[key] for row in rows if _id(row, key) > oldest]
        # Rows that ESI repeats beside older ones do no harm; without older ones, the parameter may have been ignored.
        goes_on = is_believed or any(_has_id(row, key) and row[key] < oldest for row in rows)
        known = {_id(row, key) for body in bodies for row in body} if newer and goes_on else set()
        if newer := [each for each in newer if each not in known]:
            raise EsiUnavailable(
                f"ESI's response for {self._route.name} has {key} {newer[0]}, although those up to {oldest} were "
                f"requested; {_count(read, 1)} are kept",
                status=response.status,
                request_id=response.request_id,
            )
        self._lowest(rows, key)
        if parameter == "from_id" and not any(_has_id(row, key) and row[key] == oldest for row in rows):
            # ESI repeats the row that was requested; without it, this is no end of the listing.
            self._held.discard()
            raise ListingChanged(
                f"{self._route.name} changed while it was read: {key} {oldest} is no longer there; it is read anew",
                request_id=response.request_id,
            )
        self._add(read + 1, response)
        return rows

    def _next(self, query: dict[str, str], read: str) -> EsiResponse:
        """Request one more response, if the step is not over."""
        progress = f"{read} are read and kept"
        if self._has_sent and time.monotonic() - self._began_mono >= STEP_SECONDS:
            raise StepEnded(f"{self._route.name}: {progress}; the next step goes on", retry_after_seconds=1)
        try:
            response = self._noted(self._get(query=query))
        except TryLater as error:
            error.args = (f"{error}; {progress}",)
            raise
        self._rows(response)
        return response

    def _add(self, number: int, response: EsiResponse) -> HeldPage:
        added = self._held.add(number, response)
        if added is None:
            raise StepEnded(
                f"another job reads {self._route.name} of this character", retry_after_seconds=_BUSY_SECONDS
            )
        return added

    def _check_empty(self, bodies: Sequence[list[Any]], first: HeldPage, *, is_first_attempt: bool) -> None:
        """Raise `ListingChanged` if a page is empty, so that pages with equal headers do not belong together.

        An empty page in the middle (esi-issues #914) is believed when the listing is read a second time. What is held
        stays until page 1 may be requested again: it would answer the same before.
        """
        empty = [number for number, body in enumerate(bodies, 1) if not body]
        if empty and (is_first_attempt or empty[-1] == len(bodies)):
            raise self._changed(f"page {empty[-1]} of {len(bodies)} is empty", first)

    def _repeated(self, bodies: Sequence[list[Any]]) -> list[SetAside]:
        """Return the rows that an earlier page has too: then another row may be on neither.

        That is so in every attempt if ESI itself is wrong. After some, the listing is stored with each row once, and
        these rows are set aside, so that nothing is concluded from what it lacks.
        """
        key, seen = _IDS.get(self._route.dataset), dict[int, int]()
        repeated: list[SetAside] = []
        for number, body in enumerate(bodies, 1) if key else ():
            for row in (row for row in body if _has_id(row, key)):
                found = int(_id(row, key))
                if seen.setdefault(found, number) != number:
                    reason = f"{key} {found} is on the pages {seen[found]} and {number}"
                    repeated.append(SetAside(row, reason, is_stored=False))
        return repeated

    def _changed(self, what: str, first: HeldPage) -> ListingChanged:
        return ListingChanged(
            f"{self._route.name} changed while it was read: {what}; it is read anew when page 1 is no longer fresh",
            request_id=self._request_id,
            retry_after_seconds=self._seconds_until(first.fresh_until_ms),
        )

    def _assembled(self, first: HeldPage, rows: list[Any], pages: int) -> EsiResponse:
        return EsiResponse(
            status=200,
            not_modified=False,
            body=rows,
            etag=first.etag,
            last_modified=first.last_modified,
            fresh_until_ms=first.fresh_until_ms,
            pages=pages,
            request_id=self._request_id,
        )

    def _noted(self, response: EsiResponse) -> EsiResponse:
        self._has_sent, self._request_id = True, response.request_id
        return response

    def _rows(self, response: EsiResponse) -> list[Any]:
        if response.not_modified:
            return []
        if not isinstance(response.body, list):
            raise EsiUnavailable(
                f"ESI's response for {self._route.name} is not a list",
                status=response.status,
                request_id=response.request_id,
            )
        return response.body

    def _lowest(self, rows: list[Any], key: str) -> float:
        """Return the lowest id, infinity without rows; rows without an id are left to those who store them."""
        if rows and not any(_has_id(row, key) for row in rows):
            raise EsiUnavailable(
                f"ESI's response for {self._route.name} has no row with {key}", status=200, request_id=self._request_id
            )
        # A row that is wrong otherwise may have a wrong id too, which would skip the rows before it.
        known = [row for row in rows if _has_id(row, key)]
        good = [row for row in known if self._is_good(row)]
        return min((_id(row, key) for row in good or known), default=float("inf"))

    def _is_good(self, row: Any) -> bool:
        return not isinstance(self._route.shape, ListOf) or self._route.shape.each(row) is None

    def _seconds_until(self, at_ms: int) -> float:
        return self._clock.conversion().real_seconds(at_ms - self._clock.now_ms())

    def _endless(self, fresh_until_ms: int) -> EsiUnavailable:
        return EsiUnavailable(
            f"the listing {self._route.name} has more than {MAX_PAGES} pages",
            # As a useless body: after some attempts it is requested less and less often.
            status=200,
            request_id=self._request_id,
            retry_after_seconds=self._seconds_until(fresh_until_ms),
        )


def _count(read: int, pages: int) -> str:
    return f"{read} of {pages} pages" if pages > 1 else f"{read} responses"


def _confirms(response: EsiResponse, copy: Copy, has_several: bool) -> bool:
    """Return whether a 304 for page 1 means that our copy is unchanged: the same pages, of the same moment."""
    is_ours = response.last_modified in (None, copy.last_modified) if has_several else copy.etag is not None
    return is_ours and response.pages in (0, copy.pages or 1)


def _has_id(row: Any, key: str | None) -> bool:
    number: Any = row.get(key) if isinstance(row, dict) else None
    return integer(number) is None and number > 0


def _id(row: Any, key: str | None) -> float:
    return row[key] if _has_id(row, key) else float("-inf")


def _repeated_newer(bodies: Sequence[list[Any]], lowest: Sequence[float], key: str) -> list[SetAside]:
    """Return the rows of later responses that are newer than what was requested: earlier responses have them too."""
    return [
        SetAside(row, f"{key} {row[key]} is in a response to {key} {before:.0f} too", is_stored=False)
        for body, before in zip(bodies[1:], lowest, strict=False)
        for row in body
        if _id(row, key) > before
    ]


def _each_once(bodies: Sequence[list[Any]], key: str) -> Iterator[Any]:
    seen = set[float]()
    for row in (row for body in bodies for row in body):
        if not _has_id(row, key) or _id(row, key) not in seen:
            yield row
        seen.add(_id(row, key))
