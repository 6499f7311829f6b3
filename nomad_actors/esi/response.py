"""One answer of ESI's, and until when it is fresh."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from .routes import Route

#: Asking at the very moment of expiry is too early (evemon's observation; clocks differ by a little).
SLACK_SECONDS = 2
#: No route of CCP's is fresh for longer than a day; a header that says more is a fault, and must not stop us for years.
_LONGEST_SECONDS = 7 * 86_400
_SECONDS = re.compile(r"[0-9]{1,9}")
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,9})\b")


@dataclass(frozen=True)
class EsiResponse:
    """What ESI said of one route of one character."""

    status: int
    #: A 304: what we hold is still right, and fresh again until `fresh_until_ms`.
    not_modified: bool
    #: Rows or a document; None with `not_modified`.
    body: Any
    etag: str | None
    last_modified: str | None
    fresh_until_ms: int
    pages: int
    request_id: str | None


def fresh_seconds(headers: Mapping[str, str], route: Route) -> int:
    """Return for how many seconds an answer is fresh.

    `Cache-Control` first, then `Expires` less `Date`, so that a skewed clock of this host does not matter, then what
    the route is known for: on event-invalidated routes `Expires` has no meaning (CCP, 2026-01-27).
    """
    control = headers.get("Cache-Control", "").lower()
    if "no-cache" in control or "no-store" in control:
        return route.interval_seconds
    if match := _MAX_AGE.search(control):
        return min(int(match[1]), _LONGEST_SECONDS) + SLACK_SECONDS
    expires, date = http_date(headers.get("Expires")), http_date(headers.get("Date"))
    if expires is not None and date is not None and expires > date:
        return min(int((expires - date).total_seconds()), _LONGEST_SECONDS) + SLACK_SECONDS
    return route.cache_seconds + SLACK_SECONDS


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how long an answer asks to stay away by `Retry-After`, seconds or a date; None if it does not."""
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    until, date = http_date(text), http_date(headers.get("Date"))
    return (until - date).total_seconds() if until and date and until > date else None


def http_date(text: str | None) -> datetime | None:
    """Return the moment that a header names; None for none and for what is no date."""
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    # "-0000" is read as a time without a zone.
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
