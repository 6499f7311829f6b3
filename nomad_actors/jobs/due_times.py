"""When an answer's data was true, and when to ask again: pure arithmetic on times in milliseconds."""

from __future__ import annotations

import zlib

from ..esi import EsiResponse, Route, http_date

#: Asking at the very moment that freshness ends is too early: ESI's hosts do not agree to the second.
SLACK_MS = 5_000
#: The part of its interval by which a route's refreshes are spread over the characters.
_JITTER_SHARE = 0.1
_DAY_MS = 86_400_000


def as_of_ms(route: Route, answer: EsiResponse, *, now_ms: int) -> int:
    """Return when ESI's data was as the answer says: `Last-Modified`, else where its freshness began.

    An unchanged answer may repeat the old `Last-Modified` though it was compared anew.
    """
    freshness_began_ms = answer.fresh_until_ms - route.cache_seconds * 1000
    modified = http_date(answer.last_modified)
    if modified is None:
        found_ms = freshness_began_ms
    else:
        modified_ms = int(modified.timestamp() * 1000)
        found_ms = max(modified_ms, freshness_began_ms) if answer.not_modified else modified_ms
    return min(found_ms, now_ms)


def next_due_ms(route: Route, character_id: int, *, fresh_until_ms: int, now_ms: int) -> int:
    """Return when the schedule asks again: after CCP's freshness and our interval, each character at its own moment."""
    interval_ms = route.interval_seconds * 1000
    return max(fresh_until_ms + SLACK_MS, now_ms + interval_ms) + _jitter_ms(route, character_id)


def retry_due_ms(route: Route, character_id: int, *, failures: int, now_ms: int) -> int:
    """Return when the schedule tries again after `failures` (1 or more) in a row: longer each time, a day at most."""
    doubled_ms: int = route.interval_seconds * 1000 * 2 ** min(failures - 1, 10)
    return now_ms + min(doubled_ms, _DAY_MS) + _jitter_ms(route, character_id)


def _jitter_ms(route: Route, character_id: int) -> int:
    spread_ms = max(1, int(route.interval_seconds * 1000 * _JITTER_SHARE))
    return zlib.crc32(f"{character_id} {route.name}".encode()) % spread_ms
