"""Times as callers write them, and as our columns have them: milliseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from ..errors import BadInput
from ..logs.foreign_text import safe_repr

#: A time as callers write it: a day begins at 00:00 UTC, and a time without a zone is UTC.
Moment = date | datetime | str

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def to_datetime(ms: int) -> datetime:
    """Return an aware time, exact to the millisecond."""
    return EPOCH + timedelta(milliseconds=ms)


def to_ms(moment: datetime) -> int:
    """Return the milliseconds of a time; a part of one counts as a whole one, so that limits stay exact."""
    return -((EPOCH - moment) // MILLISECOND)


def limit_ms(value: Moment | None, name: str) -> int | None:
    """Return the limit `name` of a range in milliseconds, or None if there is none.

    Raises `BadInput` if it is not a time.
    """
    return None if value is None else to_ms(_aware(value, name))


def range_ms(from_: Moment | None, to: Moment | None) -> tuple[int | None, int | None]:
    """Return the limits of a range; `from_` is part of it, `to` is not.

    Raises `BadInput` if one is not a time, or if the range ends before it begins.
    """
    from_ms, to_ms_ = limit_ms(from_, "from_"), limit_ms(to, "to")
    if from_ms is not None and to_ms_ is not None and from_ms > to_ms_:
        raise BadInput(f"from_ {safe_repr(from_, 100)} is after to {safe_repr(to, 100)}")
    return from_ms, to_ms_


def _aware(value: Moment, name: str) -> datetime:
    found = _read(value, name)
    if not isinstance(found, datetime):
        found = datetime.combine(found, time.min)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _read(value: Moment, name: str) -> date:
    if isinstance(value, date):
        return value
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        allowed = "a date, a datetime, or a text such as 2026-10-01 or 2026-10-01T12:00:00Z"
        raise BadInput(f"{name} {safe_repr(value, 100)} is not a time (allowed: {allowed})") from None
