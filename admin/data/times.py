"""The times of a query: ISO 8601, or milliseconds since the epoch as in our answers."""

from __future__ import annotations

import re
from datetime import datetime

from nomad_actors.data.moments import limit_ms, to_datetime
from nomad_actors.errors import BadInput

_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?", re.ASCII)
#: Fewer digits would be before 2001: a year, or seconds.
_MS = re.compile(r"0|[0-9]{12,15}", re.ASCII)
#: The end of the year 9999.
MAX_MS = 253_402_300_799_999
ALLOWED = (
    "a day such as 2026-11-01, which begins at 00:00 UTC",
    "a time such as 2026-11-01T12:00:00Z",
    f"0 or 12 to 15 digits: ms since the epoch up to {MAX_MS}, the year 9999",
)


def read_range(from_: str | None, to: str | None) -> tuple[datetime | str | None, datetime | str | None]:
    """Return the limits of a range; raises `BadInput` for what is not a time, and if it ends before it begins."""
    begin, end = _read("from", from_), _read("to", to)
    begin_ms, end_ms = limit_ms(begin, "from"), limit_ms(end, "to")
    if begin_ms is not None and end_ms is not None and begin_ms > end_ms:
        raise BadInput(f"query parameter 'from' is {from_!r:.80}, which is after 'to', {to!r:.80}")
    return begin, end


def _read(name: str, text: str | None) -> datetime | str | None:
    if text is None:
        return None
    if _MS.fullmatch(text) and int(text) <= MAX_MS:
        return to_datetime(int(text))
    try:
        if _ISO.fullmatch(text):
            datetime.fromisoformat(text)
            return text
    except ValueError:
        pass
    raise BadInput(f"query parameter {name!r} is {text!r:.80} (allowed: {' or '.join(ALLOWED)})", accepted=ALLOWED)
