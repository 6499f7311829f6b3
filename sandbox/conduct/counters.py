"""Counters of all requests, to compare a client with the best one possible."""

from __future__ import annotations

from collections import Counter

from ..exchange import Exchange
from .freshness import Document, document_of


class Counters:
    """Requests by route and status, and the fewest that would have given the client the same data.

    One request is needed for each document and cache period in which the client asked for it. What the sandbox itself
    spoiled, a fault or a downtime that the client could not know of, is needed too.
    """

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seen: dict[Document, int] = {}
        self.sent = 0
        self.fewest = 0

    def count(self, exchange: Exchange, *, is_blamed: bool) -> None:
        """Count a finished exchange."""
        self._requests[exchange.method, exchange.route, exchange.status] += 1
        if exchange.service == "esi":
            self.sent += 1
            self.fewest += self._is_needed(exchange, is_blamed=is_blamed)

    def _is_needed(self, exchange: Exchange, *, is_blamed: bool) -> bool:
        if exchange.origin != "route":
            return not is_blamed
        if exchange.snapshot is None:
            return exchange.status < 400
        document, taken_s = document_of(exchange), exchange.snapshot.taken_s
        is_new = self._seen.get(document) != taken_s
        self._seen[document] = taken_s
        return is_new

    def requests(self) -> list[dict[str, object]]:
        """Return the counts by method, route and status."""
        return [
            {"method": method, "route": route, "status": status, "count": count}
            for (method, route, status), count in sorted(self._requests.items())
        ]
