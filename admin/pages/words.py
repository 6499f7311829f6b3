"""Template filters that format numbers and times."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from markupsafe import Markup, escape

#: Shown for a missing value.
NOTHING = "–"

#: The longest text that a page shows. Texts come from jobs and callers, so they may have any length.
MAX_TEXT = 10_000

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(ms: float | None) -> str:
    """Return a duration in its two largest units: `850 ms`, `3.2 s`, `4 min 10 s`, `2 d 3 h`."""
    if ms is None:
        return NOTHING
    if ms < 1000:
        return f"{int(ms)} ms"
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    seconds = int(ms) // 1000
    for (size, unit), (next_size, next_unit) in pairwise(_UNITS):
        if seconds >= size:
            rest = seconds % size // next_size
            return f"{seconds // size} {unit}" + (f" {rest} {next_unit}" if rest else "")
    return f"{seconds} s"


def seconds(ms: int) -> str:
    """Return a duration in seconds with up to three decimals, as a form's field accepts it: `60`, `1.5`, `0.2`."""
    return f"{ms // 1000}.{ms % 1000:03d}".rstrip("0").rstrip(".")


def utc(ms: float | None) -> str:
    """Return a timestamp (ms since the epoch) in UTC, to the second."""
    if ms is None:
        return NOTHING
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def from_now(ms: float | None, now_ms: float) -> str:
    """Return a timestamp relative to now: `3 min ago`, `in 2 h`."""
    if ms is None:
        return NOTHING
    return f"in {duration(ms - now_ms)}" if ms > now_ms else f"{duration(now_ms - ms)} ago"


def percent(value: float | None) -> str:
    """Return a percentage without trailing zeros."""
    return NOTHING if value is None else f"{value:g} %"


def number(value: float) -> str:
    """Return a number with thin spaces between its thousands."""
    return f"{value:,}".replace(",", "\u202f")


def bounded(value: object) -> object:
    """Truncate a text that is too long for a page; our own markup stays unchanged."""
    if isinstance(value, str) and not isinstance(value, Markup) and len(value) > MAX_TEXT:
        return f"{value[:MAX_TEXT]}… [{len(value) - MAX_TEXT} characters left out]"
    return value


def full_text(text: str) -> Markup:
    """Return a text that is already bounded; `bounded` does not truncate it again."""
    return escape(text)
