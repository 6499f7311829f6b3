"""ESI's routes about itself: /status, and those below /meta."""

from __future__ import annotations

from collections.abc import Callable

from .outages import Outages
from .routes import RATE_GROUPS, ROUTES, Route
from .world.draws import DAY, Row, draw, iso

# Newest first; the last one, the oldest behaviour, is the default.
COMPATIBILITY_DATES = (
    "2026-08-18",
    "2026-08-04",
    "2026-07-21",
    "2026-07-17",
    "2026-06-09",
    "2026-05-19",
    "2025-12-16",
    "2025-11-06",
    "2025-09-30",
    "2025-09-26",
    "2025-08-26",
    "2025-04-02",
    "2025-04-01",
    "2020-01-01",
)
RECOVERING_S = 300


def status(outages: Outages, now_s: int) -> Row:
    """Return `/status`: the server's start is the end of the last downtime."""
    return {
        "players": 18_000 + draw("players", now_s // 300).randrange(14_000),
        "server_version": str(2_900_000 + now_s // DAY),
        "start_time": iso(int(outages.up_since_s())),
    }


def route_status(outages: Outages, now_s: int) -> Row:
    """Return `/meta/status`: routes are Down during a downtime, and Recovering for some minutes after it."""
    if outages.now("esi"):
        state = "Down"
    else:
        state = "Recovering" if now_s - outages.up_since_s() < RECOVERING_S else "OK"
    return {"routes": [{"method": "GET", "path": route.name, "status": state} for route in ROUTES]}


def compatibility_dates(outages: Outages, now_s: int) -> Row:
    """Return `/meta/compatibility-dates`."""
    return {"compatibility_dates": list(COMPATIBILITY_DATES)}


def openapi(outages: Outages, now_s: int) -> Row:
    """Return `/meta/openapi.json`, with what CCP's document says about caching and limits."""
    return {"openapi": "3.1.0", "paths": {route.name: {"get": _operation(route)} for route in ROUTES}}


def _operation(route: Route) -> Row:
    found: Row = {
        "x-cache-age": route.cache_seconds,
        "x-cache-mode": "event-based" if route.event_based else "ttl-based",
    }
    if route.group is not None:
        limit = {"group": route.group, "window-size": "15m", "max-tokens": RATE_GROUPS[route.group]}
        found["x-rate-limit"] = limit
    return found


DOCUMENTS: dict[str, tuple[Callable[[Outages, int], object], int]] = {
    "/status": (status, 30),
    "/meta/status": (route_status, 0),
    "/meta/compatibility-dates": (compatibility_dates, 600),
    "/meta/openapi.json": (openapi, 600),
}
GROUPS = {path: "status" if path == "/status" else "meta" for path in DOCUMENTS}
