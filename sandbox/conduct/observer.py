"""Passes every finished exchange to all rules, and keeps the record and the counters."""

from __future__ import annotations

import threading

from ..exchange import Exchange
from .bursts import HourBursts
from .counters import Counters
from .freshness import Freshness
from .identity import Identity
from .limits import Bans, ErrorBudget, OverdrawnBuckets, RetryAfter
from .outages import Outages
from .pages import Pages
from .record import Record, Violation
from .refreshes import Refreshes
from .refusals import Refusals
from .rule import Knowledge, Rule

#: How long a fleet may take until all its processes know what one of them has read, in the host's seconds.
GRACE_S = 0.25


class Conduct:
    """The conduct of the client; thread-safe."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._record = Record()
        self._begin()

    def _begin(self) -> None:
        knowledge = Knowledge(self._grace_s)
        self._counters, self._freshness, self._refusals = Counters(), Freshness(), Refusals(knowledge)
        self._rules: list[Rule] = [
            Identity(),
            Bans(knowledge),
            RetryAfter(knowledge),
            OverdrawnBuckets(),
            ErrorBudget(knowledge),
            Outages(knowledge),
            self._freshness,
            # After freshness: a page that does not fit makes its listing forgotten.
            Pages(self._freshness),
            self._refusals,
            Refreshes(),
            HourBursts(),
        ]

    def observe(self, exchange: Exchange) -> None:
        """Judge and count a finished exchange."""
        with self._lock:
            blames = [blame for rule in self._rules for blame in rule.judge(exchange)]
            for reason, detail in blames:
                self._record.add(Violation.of(exchange, reason, detail))
            self._counters.count(exchange, is_blamed=bool(blames))
            if exchange.is_code and exchange.status == 200:
                self._forget_character(exchange.character_id)

    def _forget_character(self, character_id: int | None) -> None:
        """A new login may be another owner's, who must not be given what was kept for the last one."""
        self._freshness.forget(f"/characters/{character_id}")
        self._refusals.forget(f"/characters/{character_id}")

    def record(self) -> dict[str, object]:
        """Return the record as JSON."""
        with self._lock:
            return self._record.as_json()

    def counters(self) -> dict[str, object]:
        """Return the counters as JSON; `share` is null without a response for an unchanged document."""
        with self._lock:
            unchanged, not_modified = self._freshness.unchanged, self._freshness.not_modified
            return {
                "requests": self._counters.requests(),
                "esi_requests": {"sent": self._counters.sent, "fewest": self._counters.fewest},
                "unchanged": {
                    "responses": unchanged,
                    "not_modified": not_modified,
                    "share": not_modified / unchanged if unchanged else None,
                },
            }

    def clear(self) -> None:
        """Empty the record; what the client knows is still held against it."""
        with self._lock:
            self._record.clear()

    def restart(self) -> None:
        """Begin anew, as with a client that knows nothing: record, counters, knowledge."""
        with self._lock:
            self._record.clear()
            self._begin()
