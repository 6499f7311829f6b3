"""Whole listings out of single answers: numbered pages as one consistent set, and walks down to the oldest row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from .errors import EsiUnavailable
from .response import EsiResponse
from .routes import Route

#: How often a set of pages is begun anew because its pages were of different states.
SET_TRIES = 3
#: More answers than any character's listing has; one without end is a fault, and a cut one would be a silent gap.
MAX_PAGES = 1_000


class Ask(Protocol):
    """Asks for one answer of a listing: its beginning, or the part that `query` names."""

    def __call__(self, *, etag: str | None = None, query: dict[str, str] | None = None) -> EsiResponse:
        """Return the answer."""
        ...


def all_pages(route: Route, ask: Ask, etag: str | None) -> EsiResponse:
    """Return every page's rows; all must carry the same Last-Modified and number of pages, or the set is begun anew.

    Only page 1 is asked for conditionally. Raises `EsiUnavailable` when `SET_TRIES` sets were torn.
    """
    for _ in range(SET_TRIES):
        first = ask(etag=etag)
        if first.not_modified:
            return first
        if first.pages > MAX_PAGES:
            raise _endless(route)
        rows = list(_rows(route, first))
        for page in range(2, first.pages + 1):
            more = ask(query={"page": str(page)})
            if (more.last_modified, more.pages) != (first.last_modified, first.pages):
                break
            rows += _rows(route, more)
        else:
            return replace(first, body=rows)
        # What changed in between has another validator; only the whole set is worth one.
        etag = None
    raise EsiUnavailable(f"the pages of {route.name} changed while they were read, {SET_TRIES} times")


def all_older(route: Route, ask: Ask, etag: str | None, *, key: str, parameter: str) -> EsiResponse:
    """Walk from the newest rows down to the oldest, each row once.

    `parameter` asks for rows from the oldest `key` on, with that row (`from_id`) or without it (`last_mail_id`); the
    walk ends when an answer brings nothing new. Raises `EsiUnavailable` for a listing without end.
    """
    first = ask(etag=etag)
    if first.not_modified:
        return first
    newest = _by_key(route, first, key)
    rows, fresh, pages = dict(newest), newest, 1
    while fresh:
        if pages == MAX_PAGES:
            raise _endless(route)
        more = _by_key(route, ask(query={parameter: str(min(fresh))}), key)
        fresh = {number: row for number, row in more.items() if number not in rows}
        rows |= fresh
        pages += 1
    return replace(first, body=list(rows.values()), pages=pages)


def _rows(route: Route, answer: EsiResponse) -> list[Any]:
    if not isinstance(answer.body, list):
        raise EsiUnavailable(
            f"ESI's answer for {route.name} is no list", status=answer.status, request_id=answer.request_id
        )
    return answer.body


def _by_key(route: Route, answer: EsiResponse, key: str) -> dict[int, Any]:
    try:
        return {int(row[key]): row for row in _rows(route, answer)}
    except (KeyError, TypeError, ValueError) as error:
        raise EsiUnavailable(
            f"ESI's answer for {route.name} has a row without {key}", status=answer.status, request_id=answer.request_id
        ) from error


def _endless(route: Route) -> EsiUnavailable:
    return EsiUnavailable(f"the listing {route.name} has no end within {MAX_PAGES} answers")
