"""Rules for downtimes: one probe, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..exchange import Exchange
from ..outages import Outage
from .rule import Blame, Knowledge

#: A shorter interval is more than one probe; `/status` itself is cached for 30 s.
PROBE_INTERVAL_S = 10


@dataclass
class _KnownOutage:
    """An outage that a client knows of, and when it last probed."""

    outage: Outage
    known_mono: float
    probed_s: float = float("-inf")


class Outages:
    """Probes of ESI are `/status`; SSO has no route for them, so any request is one."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._known: dict[str, _KnownOutage] = {}

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        if exchange.outage is None:
            return
        known = self._known.get(exchange.service)
        if known is None or known.outage != exchange.outage:
            self._known[exchange.service] = _KnownOutage(exchange.outage, exchange.finished_mono)
            return
        if not self._knowledge.of(known.known_mono, exchange):
            return
        if exchange.service == "esi" and exchange.path != "/status":
            yield "request-while-down", f"{exchange.at_s - exchange.outage.from_s:.1f} s after it began"
            return
        since_s = exchange.at_s - known.probed_s
        if since_s < PROBE_INTERVAL_S:
            yield "too-many-probes", f"{max(0.0, since_s):.1f} s after the last"
        known.probed_s = max(known.probed_s, exchange.at_s)
