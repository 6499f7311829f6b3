"""Calculates when a response's data was true and when to request it again, in milliseconds."""

from __future__ import annotations

import zlib

from ..esi import EsiResponse, Route
from ..esi.response import SLACK_SECONDS
from ..http_date import http_date

SLACK_MS = SLACK_SECONDS * 1000
#: The share of a route's interval over which its refreshes are spread, by character.
_JITTER_SHARE = 0.1
#: A player who is offline for this long is rarely back within the hour; then an interval is this many times as long.
_RESTS_AFTER_MS, _REST_FACTOR = 86_400_000, 10
#: The pauses after ESI refused a route of a character.
REFUSED_MS, REFUSED_MAX_MS = 3_600_000, 7 * 86_400_000


def as_of_ms(
    route: Route,
    response: EsiResponse,
    *,
    now_ms: int,
    stored_ms: int | None = None,
    stored_last_modified: str | None = None,
) -> int:
    """Return when the response's data was true: `Last-Modified`, else the start of its freshness.

    A not-modified response may repeat the old `Last-Modified` although ESI has just compared the data. A response is
    older than the stored one of `stored_ms` only if its `Last-Modified` is: freshness may just have become shorter, and
    a 304 has perhaps come from a host that did not know of a change yet.
    """
    freshness_began_ms = response.fresh_until_ms - route.cache_seconds * 1000
    modified, stored_modified = http_date(response.last_modified), http_date(stored_last_modified)
    found_ms = freshness_began_ms
    if modified is not None:
        modified_ms = int(modified.timestamp() * 1000)
        found_ms = max(modified_ms, freshness_began_ms) if response.not_modified else modified_ms
    if modified is None or stored_modified is None or modified >= stored_modified:
        found_ms = max(found_ms, stored_ms or 0)
    return min(found_ms, now_ms)


def next_due_ms(
    route: Route, character_id: int, *, fresh_until_ms: int, now_ms: int, offline_since_ms: int | None = None
) -> int:
    """Return the next scheduled request: after CCP's freshness and our interval, with a fixed offset per character.

    Ten times the interval if the player has been offline for a day and the route hardly changes meanwhile.
    """
    rests = route.rests_offline and offline_since_ms is not None and now_ms - offline_since_ms > _RESTS_AFTER_MS
    interval_ms = route.interval_seconds * 1000 * (_REST_FACTOR if rests else 1)
    return max(fresh_until_ms + SLACK_MS, now_ms + interval_ms) + _jitter_ms(route, character_id)


def refused_ms(route: Route, character_id: int, *, refusals: int) -> int:
    """Return for how long a route is not requested after `refusals` (1 or more) in a row: an hour, up to a week."""
    doubled_ms: int = REFUSED_MS * 2 ** min(refusals - 1, 10)
    return min(doubled_ms, REFUSED_MAX_MS) + _jitter_ms(route, character_id)


def trouble_seconds(failures: int) -> float:
    """Return when to retry after `failures` (1 or more) in a row that are not the route's: 10 s, up to 10 minutes."""
    return float(min(10 * 2 ** min(failures - 1, 10), 600))


def _jitter_ms(route: Route, character_id: int) -> int:
    spread_ms = max(1, int(route.interval_seconds * 1000 * _JITTER_SHARE))
    return zlib.crc32(f"{character_id} {route.name}".encode()) % spread_ms
