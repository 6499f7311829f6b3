"""ESI's routes about itself: /status, /meta/status, /meta/compatibility-dates."""

from __future__ import annotations

from collections.abc import Callable

from .routes import ROUTES
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
DOWNTIME_S = 11 * 3_600
DOWNTIME_LASTS_S = 240


def status(now_s: int) -> Row:
    """Return `/status`: the server starts a few minutes after the daily downtime at 11:00 UTC."""
    started_s = (now_s - DOWNTIME_S - DOWNTIME_LASTS_S) // DAY * DAY + DOWNTIME_S + DOWNTIME_LASTS_S
    return {
        "players": 18_000 + draw("players", now_s // 300).randrange(14_000),
        "server_version": str(2_900_000 + now_s // DAY),
        "start_time": iso(started_s),
    }


def route_status(now_s: int) -> Row:
    """Return `/meta/status`: always OK; failures come only from requested faults."""
    return {"routes": [{"method": "GET", "path": route.name, "status": "OK"} for route in ROUTES]}


def compatibility_dates(now_s: int) -> Row:
    """Return `/meta/compatibility-dates`."""
    return {"compatibility_dates": list(COMPATIBILITY_DATES)}


DOCUMENTS: dict[str, tuple[Callable[[int], object], int]] = {
    "/status": (status, 30),
    "/meta/status": (route_status, 0),
    "/meta/compatibility-dates": (compatibility_dates, 600),
}
GROUPS = {"/status": "status", "/meta/status": "meta", "/meta/compatibility-dates": "meta"}
