"""Seeded randomness and calendar arithmetic that all domains share."""

from __future__ import annotations

import random
from datetime import UTC, datetime

Row = dict[str, object]

DAY = 86_400
HOUR = 3_600


def draw(*parts: object) -> random.Random:
    """Return a generator that depends on `parts` alone, the same in every process."""
    return random.Random(":".join(map(str, parts)))


def days_until(now_s: int, days: int) -> range:
    """Return the numbers of the UTC days of the last `days` days, today included, oldest first."""
    today = now_s // DAY
    return range(today - days, today + 1)


def iso(second: int) -> str:
    """Write a second of the Unix epoch as ESI writes times."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_day(day: int) -> str:
    """Write the number of a UTC day as ESI writes dates."""
    return datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d")
