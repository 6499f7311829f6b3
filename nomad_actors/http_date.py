"""Dates in headers of HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def http_date(text: str | None) -> datetime | None:
    """Return the date in a header, or None if it is missing or invalid."""
    try:
        date = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    # "-0000" is parsed as a time without a zone.
    return date.replace(tzinfo=UTC) if date and date.tzinfo is None else date


def http_date_ms(text: str | None) -> int | None:
    """Return the date in a header in milliseconds since 1970, or None if it is missing or invalid."""
    date = http_date(text)
    return None if date is None else int(date.timestamp()) * 1000
