"""Complete listings from several responses: numbered pages as one consistent set, or reading down to the oldest row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from .checks import integer
from .errors import EsiUnavailable
from .response import EsiResponse
from .routes import Route

#: How often a set of pages is requested if the listing changes between its pages.
SET_ATTEMPTS = 3
#: No character's listing has more; an endless one is an error, because truncating it would lose rows silently.
MAX_PAGES = 1_000


class GetPage(Protocol):
    """Requests one page of a listing: the first one, or the one that `query` selects."""

    def __call__(self, *, etag: str | None = None, query: dict[str, str] | None = None) -> EsiResponse: ...


def all_pages(route: Route, get: GetPage, etag: str | None) -> EsiResponse:
    """Return the rows of all pages; they must have the same Last-Modified and page count, else the set is read again.

    Only page 1 is requested conditionally. Raises `EsiUnavailable` if `SET_ATTEMPTS` sets were inconsistent.
    """
    for _ in range(SET_ATTEMPTS):
        first = get(etag=etag)
        if first.not_modified:
            return first
        if first.pages > MAX_PAGES:
            raise _endless(route)
        rows = list(_rows(route, first))
        for page in range(2, first.pages + 1):
            more = get(query={"page": str(page)})
            if (more.last_modified, more.pages) != (first.last_modified, first.pages):
                break
            rows += _rows(route, more)
        else:
            return replace(first, body=rows)
        # The listing has changed and has another ETag now.
        etag = None
    raise EsiUnavailable(f"the pages of {route.name} changed while they were read, {SET_ATTEMPTS} times")


def all_older(route: Route, get: GetPage, etag: str | None, *, key: str, parameter: str) -> EsiResponse:
    """Return all rows from the newest to the oldest, each row once.

    `parameter` requests the rows from the oldest `key` on, with that row (`from_id`) or without it (`last_mail_id`);
    reading ends when a response contains nothing new. Rows without a key are returned too, but do not lead on. Raises
    `EsiUnavailable` for an endless listing.
    """
    first = get(etag=etag)
    if first.not_modified:
        return first
    newest, others = _by_key(route, first, key)
    rows, fresh, pages = dict(newest), newest, 1
    while fresh:
        if pages == MAX_PAGES:
            raise _endless(route)
        more, more_others = _by_key(route, get(query={parameter: str(min(fresh))}), key)
        fresh = {number: row for number, row in more.items() if number not in rows}
        rows |= fresh
        others += more_others
        pages += 1
    return replace(first, body=[*rows.values(), *others], pages=pages)


def _rows(route: Route, response: EsiResponse) -> list[Any]:
    if not isinstance(response.body, list):
        raise EsiUnavailable(
            f"ESI's response for {route.name} is not a list", status=response.status, request_id=response.request_id
        )
    return response.body


def _by_key(route: Route, response: EsiResponse, key: str) -> tuple[dict[int, Any], list[Any]]:
    """Return the rows by their key, and those without one. Raises `EsiUnavailable` if none has a key."""
    keyed: dict[int, Any] = {}
    others = []
    for row in _rows(route, response):
        number: Any = row.get(key) if isinstance(row, dict) else None
        if integer(number) is None and number > 0:
            keyed[number] = row
        else:
            others.append(row)
    if others and not keyed:
        raise EsiUnavailable(
            f"ESI's response for {route.name} has no row with {key}",
            status=response.status,
            request_id=response.request_id,
        )
    return keyed, others


def _endless(route: Route) -> EsiUnavailable:
    return EsiUnavailable(f"the listing {route.name} has more than {MAX_PAGES} pages")
