"""Rules about caching: nothing that is fresh, and never without the ETag (esi-docs, best practices)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..exchange import Exchange
from .rule import Blame

#: Queries that say how to answer, not what with.
_MANNERS = {"compatibility_date", "datasource", "language", "user_agent", "token"}
#: Queries of the later parts of a listing: only its first part is asked for by ETag.
_LATER_PARTS = {"page", "from_id", "last_mail_id"}

Document = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Given:
    """A document that this client was given."""

    etag: str
    expires_s: float


def document_of(exchange: Exchange) -> Document:
    """Return which document a request is for; page 1 is the document without a page."""
    query = {name: value for name, value in exchange.query.items() if name not in _MANNERS}
    if query.get("page") == "1":
        del query["page"]
    return exchange.path, tuple(sorted(query.items()))


class Freshness:
    """All programs with one application are one client, and everything that they were given is known to all."""

    def __init__(self) -> None:
        self._given: dict[Document, Given] = {}
        #: Responses for documents whose ETag the client had, and those of them that were 304.
        self.unchanged = 0
        self.not_modified = 0

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        if exchange.service != "esi" or exchange.method != "GET":
            return
        if exchange.outage is not None:
            # A probe is no reading, however fresh the last one is.
            self.forget("/status")
            return
        document = document_of(exchange)
        if given := self._given.get(document):
            yield from _blame(exchange, given, document)
        self._remember(exchange, document, given)

    def forget(self, path: str) -> None:
        """Forget a listing whose pages did not fit together, or all of a character that logged in again."""
        self._given = {key: each for key, each in self._given.items() if not f"{key[0]}/".startswith(f"{path}/")}

    def _remember(self, exchange: Exchange, document: Document, given: Given | None) -> None:
        if exchange.origin == "fault" and exchange.status in (200, 304):
            # It must not keep what it got, and may ask again.
            self._given.pop(document, None)
        if exchange.origin != "route" or exchange.snapshot is None or exchange.etag is None or _is_lost(exchange):
            return
        if given and given.etag == exchange.etag:
            self.unchanged += 1
            self.not_modified += exchange.status == 304
        self._given[document] = Given(exchange.etag, exchange.snapshot.expires_s)


def _blame(exchange: Exchange, given: Given, document: Document) -> Iterator[Blame]:
    if exchange.at_s < given.expires_s:
        yield "before-expiry", f"{given.expires_s - exchange.at_s:.1f} s too early"
    elif not _is_conditional(exchange) and not _LATER_PARTS & {name for name, _ in document[1]}:
        yield "without-etag", f"it was given {given.etag}"


def _is_conditional(exchange: Exchange) -> bool:
    return bool({"if-none-match", "if-modified-since"} & set(exchange.headers))


def _is_lost(exchange: Exchange) -> bool:
    return exchange.fault is not None and exchange.fault.drop
