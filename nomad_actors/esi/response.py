"""One response of ESI, and how long it is fresh."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import exact_json
from ..http_date import http_date
from .routes import Route

#: A request at the exact moment of expiry is too early: the clocks of ESI's hosts differ by seconds (evemon's
#: observation). Freshness is longer by this, and the next refresh waits as long again.
SLACK_SECONDS = 2
#: No route is fresh for longer than a day; an absurd header must not block requests for years.
_MAX_FRESH_SECONDS = 7 * 86_400
#: The longest that a response may stop requests, by status: a wrong header must not stop them for years. A 420's window
#: is 60 s; after anything but a 429 a probe follows, which may say the same again.
_LONGEST_WAIT_SECONDS = {420: 120.0, 429: 3_600.0, 520: 3_600.0}
_LONGEST_OTHER_WAIT_SECONDS = 900.0
_SECONDS = re.compile(r"[0-9]{1,20}")
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,9})\b")


@dataclass(frozen=True)
class SetAside:
    """One row that cannot be stored as ESI sent it, and why; `is_stored` if a repaired copy of it can."""

    row: Any
    reason: str
    is_stored: bool


@dataclass(frozen=True)
class EsiResponse:
    """ESI's response for one route of one character."""

    status: int
    #: A 304: the stored document is still valid, and fresh again until `fresh_until_ms`.
    not_modified: bool
    #: Rows or a document; None with `not_modified`.
    body: Any
    etag: str | None
    last_modified: str | None
    fresh_until_ms: int
    #: Of a listing with numbered pages; 0 if one response does not say how many. Else the number of responses.
    pages: int
    request_id: str | None
    #: Rows that are not in the body, or repaired there (`sifted`).
    set_aside: tuple[SetAside, ...] = ()


def parse(content: bytes) -> Any:
    """Return a body with exact numbers; a value that cannot be represented becomes one that `checks` rejects, so that
    it does not spoil the whole body.

    Raises `ValueError`, `RecursionError`.
    """
    # What is not UTF-8 becomes halves of surrogate pairs; `strict` would reject a NUL inside a text.
    text = content.decode("utf-8-sig", "surrogateescape")
    return exact_json.loads(text)


def fresh_seconds(headers: Mapping[str, str], route: Route) -> int:
    """Return for how many seconds a response is fresh.

    Uses `Cache-Control`, then `Expires` minus `Date`, so that this host's clock does not matter, then the route's
    known value: on event-invalidated routes `Expires` has no meaning (CCP, 2026-01-27).
    """
    control = headers.get("Cache-Control", "").lower()
    if "no-cache" in control or "no-store" in control:
        return route.interval_seconds
    if match := _MAX_AGE.search(control):
        return min(int(match[1]), _MAX_FRESH_SECONDS) + SLACK_SECONDS
    expires, date = http_date(headers.get("Expires")), http_date(headers.get("Date"))
    if expires is not None and date is not None and expires > date:
        return min(int((expires - date).total_seconds()), _MAX_FRESH_SECONDS) + SLACK_SECONDS
    return route.cache_seconds + SLACK_SECONDS


def longest_wait_seconds(status: int) -> float:
    """Return the longest that a response with this status may stop anybody, whatever its headers say."""
    return _LONGEST_WAIT_SECONDS.get(status, _LONGEST_OTHER_WAIT_SECONDS)


def retry_after_seconds(status: int, headers: Mapping[str, str]) -> float | None:
    """Return the wait in `Retry-After`, seconds or a date, cut to the longest; None if it is missing or invalid."""
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), longest_wait_seconds(status))
    until, date = http_date(text), http_date(headers.get("Date"))
    if until is None or date is None or until <= date:
        return None
    return min((until - date).total_seconds(), longest_wait_seconds(status))
