"""Seeded random generators and calendar arithmetic for all domains."""

from __future__ import annotations

import random
from datetime import UTC, datetime

Row = dict[str, object]

DAY = 86_400
HOUR = 3_600


def draw(*parts: object) -> random.Random:
    """Return a random generator that depends only on `parts`, the same in every process."""
    return random.Random(":".join(map(str, parts)))


def days_until(now_s: int, days: int) -> range:
    """Return the day numbers (UTC) of the last `days` days and of today, oldest first."""
    today = now_s // DAY
    return range(today - days, today + 1)


def iso(second: int) -> str:
    """Format a second of the Unix epoch as ESI formats times."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_day(day: int) -> str:
    """Format the number of a UTC day as ESI formats dates."""
    return datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d")
