"""Rules for listings in numbered pages (esi-docs, pagination)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..exchange import Exchange
from .freshness import Freshness
from .rule import Blame

NEAR_EXPIRY_S = 5


@dataclass
class _Walk:
    """What page 1 said, and whether a second page has been requested."""

    pages: int
    last_modified: str
    expires_s: float
    has_begun: bool = False


class Pages:
    """Watches one walk for each listing; a set whose pages do not fit together may be requested anew."""

    def __init__(self, freshness: Freshness) -> None:
        self._freshness = freshness
        self._walks: dict[str, _Walk] = {}

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        text = exchange.query.get("page", "1")
        if exchange.service != "esi" or exchange.method != "GET" or not text.isdigit():
            return
        page = int(text)
        if page > 1:
            yield from self._judge_page(exchange, page)
        elif exchange.status in (200, 304):
            self._begin(exchange)

    def _begin(self, exchange: Exchange) -> None:
        pages = exchange.response_headers.get("x-pages")
        if pages is None or exchange.snapshot is None:
            self._walks.pop(exchange.path, None)
            return
        last_modified = exchange.response_headers["last-modified"]
        self._walks[exchange.path] = _Walk(int(pages), last_modified, exchange.snapshot.expires_s)

    def _judge_page(self, exchange: Exchange, page: int) -> Iterator[Blame]:
        walk, pages = self._walks.get(exchange.path), exchange.response_headers.get("x-pages", "")
        last = walk.pages if walk else int(pages) if pages.isdigit() else page
        if page > last:
            yield "page-beyond-end", f"of {last}"
        if walk is None:
            return
        left_s = walk.expires_s - exchange.at_s
        if not walk.has_begun and left_s < NEAR_EXPIRY_S:
            yield "walk-near-expiry", f"{left_s:.1f} s before it"
        walk.has_begun = True
        if not _fits(walk, exchange):
            # It must begin anew, with page 1, although that is still fresh.
            self._freshness.forget(exchange.path)
            del self._walks[exchange.path]


def _fits(walk: _Walk, exchange: Exchange) -> bool:
    """Return whether a page is, or may later be, one of the walk's; one that does not exist or is empty is not."""
    if exchange.status != 200:
        return exchange.status != 404
    if exchange.body == b"[]":
        return False
    headers = exchange.response_headers
    return (headers.get("x-pages"), headers.get("last-modified")) == (str(walk.pages), walk.last_modified)
