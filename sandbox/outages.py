"""Downtimes of ESI and of SSO: the daily one at 11:00 UTC, and those that are ordered.

While the game server is down, every route that needs it answers 503 with CCP's text, `/status` too; the
routes below `/meta` are ESI's own and say which routes are down.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from .clock import SandboxClock
from .services import Service

DAY_S = 86_400
#: 11:00 UTC, for some minutes (the exact length is unknown).
DAILY_AT_S = 11 * 3_600
DAILY_LASTS_S = 240


@dataclass(frozen=True)
class Outage:
    """One downtime of one service."""

    service: Service
    from_s: float
    until_s: float


class Outages:
    """All downtimes; the daily one of ESI only if `daily`."""

    def __init__(self, clock: SandboxClock, *, daily: bool = False) -> None:
        self.daily = daily
        self._clock = clock
        self._ordered: list[Outage] = []
        self._lock = threading.Lock()

    def add(self, service: Service, from_s: float, lasts_s: float) -> None:
        """Order a downtime."""
        with self._lock:
            self._ordered.append(Outage(service, from_s, from_s + lasts_s))

    def clear(self) -> None:
        """Cancel all downtimes but the daily one."""
        with self._lock:
            self._ordered.clear()

    def now(self, service: Service) -> Outage | None:
        """Return the downtime that a service is in."""
        now_s = self._clock.now()
        return next((each for each in self._of(service, now_s) if each.from_s <= now_s < each.until_s), None)

    def up_since_s(self) -> float:
        """Return when the game server last started: after the last downtime, which is daily in real life."""
        now_s = self._clock.now()
        ends = [each.until_s for each in self._of("esi", now_s) if each.until_s <= now_s]
        return max([*ends, _last_daily(now_s - DAILY_LASTS_S).until_s])

    def all(self) -> list[Outage]:
        """Return every ordered downtime, past and future."""
        with self._lock:
            return list(self._ordered)

    def _of(self, service: Service, now_s: float) -> list[Outage]:
        found = [each for each in self.all() if each.service == service]
        return [*found, _last_daily(now_s)] if self.daily and service == "esi" else found


def _last_daily(now_s: float) -> Outage:
    """Return the daily downtime that began last."""
    began_s = (now_s - DAILY_AT_S) // DAY_S * DAY_S + DAILY_AT_S
    return Outage("esi", began_s, began_s + DAILY_LASTS_S)
