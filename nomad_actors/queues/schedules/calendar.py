"""Cron expressions: when a schedule is due, in any time zone.

It has three parts. Our grammar names the field that is wrong and understands `fri-mon`, `22-2` and names in any case.
cronsim finds the wall clock times that match. Our own code turns wall clock times into instants, because cronsim loses
or doubles slots where clocks change by half an hour or at midnight (Lord Howe, Beirut, Cairo, Havana). When the clocks
change, it behaves like Vixie cron: a fixed hour that does not exist runs when the gap ends, and one that occurs twice
runs once; `*` and stepped hours follow elapsed time.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import periodiq
from cronsim import CronSim, CronSimError

from ...errors import BadInput
from ...logs.foreign_text import safe_repr

CRON_EXPRESSIONS = MappingProxyType(
    {
        "EVERY_MINUTE": "* * * * *",
        "EVERY_5_MINUTES": "*/5 * * * *",
        "EVERY_15_MINUTES": "*/15 * * * *",
        "EVERY_30_MINUTES": "*/30 * * * *",
        "EVERY_HOUR": "0 * * * *",
        "EVERY_2_HOURS": "0 */2 * * *",
        "EVERY_6_HOURS": "0 */6 * * *",
        "DAILY_MIDNIGHT": "0 0 * * *",
        "DAILY_3AM": "0 3 * * *",
        "WEEKLY_MONDAY": "0 0 * * 1",
        "MONTHLY_FIRST": "0 0 1 * *",
    }
)

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_TWO_DAYS = timedelta(days=2)
#: In characters. An expression that lists every minute is shorter.
MAX_LENGTH = 1000


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: Sequence[str] = ()
    #: The value of the first of `names`.
    first: int = 0

    @property
    def cycle(self) -> int:
        """The number of different values; both 0 and 7 are Sunday."""
        return len(self.names) or self.high - self.low + 1

    def parse_value(self, text: str) -> int:
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.first
        if re.fullmatch(r"[0-9]{1,2}", text) and self.low <= int(text) <= self.high:
            return int(text)
        named = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        raise BadInput(f"{text!r} in the field {self.name} is invalid (allowed: {self.low} to {self.high}{named})")

    def normalize(self, text: str) -> str:
        """Return the field without names and ranges: only numbers, and terms with `*` unchanged."""
        return ",".join(map(self._normalize_term, text.split(",")))

    def _normalize_term(self, term: str) -> str:
        span, slash, step_text = term.partition("/")
        step = 1
        if slash:
            if not re.fullmatch(r"[0-9]{1,3}", step_text) or int(step_text) == 0:
                raise BadInput(f"step {step_text!r} in the field {self.name} is invalid (allowed: 1 to 999)")
            step = int(step_text)
        if span == "*":
            return f"*/{step}" if slash else "*"
        start_text, dash, end_text = span.partition("-")
        start = self.parse_value(start_text)
        end = self.parse_value(end_text) if dash else self.high if slash else start
        if start > end:
            # `fri-mon`, `22-2`: the range continues past the end of the week or the day.
            end += self.cycle
        values = range(start, end + 1, step)
        return ",".join(str(value if value <= self.high else value - self.cycle) for value in values)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """A parsed cron expression."""

    text: str
    #: The five fields in the form that cronsim takes.
    normalized: str

    def after(self, instant: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield the due instants after `instant`, in UTC and in order, until none follows within fifty years."""
        local = instant.astimezone(zone).replace(tzinfo=None)
        if (instant - _TWO_DAYS).astimezone(zone).utcoffset() != instant.astimezone(zone).utcoffset():
            # Start from yesterday: a gap may have moved its last slot into today.
            local = datetime(local.year, local.month, local.day) - timedelta(days=1, seconds=1)
        last = instant
        for day, walls in itertools.groupby(CronSim(self.normalized, local), key=datetime.date):
            for due in self._due_instants(day, walls, zone):
                if due > last:
                    yield due
                    last = due

    def _due_instants(self, day: date, walls: Iterator[datetime], zone: ZoneInfo) -> Iterable[datetime]:
        offset = _steady_offset(day, zone)
        if offset is not None:
            return (wall.replace(tzinfo=UTC) - offset for wall in walls)
        # Sorted: where an hour occurs twice, its first pass comes before the second pass of an earlier wall clock time.
        return sorted({each for wall in walls for each in self._instants(wall, zone)})

    def _instants(self, wall: datetime, zone: ZoneInfo) -> list[datetime]:
        first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
        if first == second:
            return [first]
        exists = first.astimezone(zone).replace(tzinfo=None) == wall
        hours = self.normalized.split()[1]
        # These follow the elapsed time: `*` and steps of it.
        if hours.startswith("*"):
            return [first, second] if exists else []
        # In a gap, fold 0 and fold 1 give instants on either side of it.
        return [first] if exists else [_gap_end(second, first, zone)]


def _steady_offset(day: date, zone: ZoneInfo) -> timedelta | None:
    """Return a day's offset from UTC, or None if the clocks change on that day or close to it."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    offsets = {(midnight + timedelta(hours=hours)).utcoffset() for hours in (-3, 0, 12, 24, 27)}
    return offsets.pop() if len(offsets) == 1 else None


def _gap_end(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first minute between two instants that has the offset of the later one."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(minutes=1):
        middle = before + timedelta(minutes=(after - before) // timedelta(minutes=2))
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after


def cron(expression: str | periodiq.CronSpec | Cron) -> Cron:
    """Parse an expression of five fields, or one of `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`.

    Of a `periodiq.CronSpec`, the text that it was made from is parsed.

    Raises `BadInput` that names the wrong field and what it allows.
    """
    if isinstance(expression, Cron):
        return expression
    if isinstance(expression, periodiq.CronSpec):
        expression = expression.parsed_from
    if not isinstance(expression, str):
        raise BadInput(
            f"a cron expression of type {type(expression).__name__} is invalid "
            "(allowed: five fields as text, or the result of periodiq's cron)"
        )
    if len(expression) > MAX_LENGTH:
        raise BadInput(f"cron expression {expression[:50]!r}… is too long (allowed: {MAX_LENGTH} characters)")
    text = expression.strip()
    fields = _MACROS.get(text.lower(), text).split()
    if len(fields) != len(_FIELDS):
        raise BadInput(
            f"cron expression {safe_repr(expression, 200)} has {len(fields)} fields "
            f"(allowed: five fields, or {', '.join(_MACROS)})"
        )
    try:
        normalized = " ".join(field.normalize(value) for field, value in zip(_FIELDS, fields, strict=True))
    except BadInput as error:
        raise BadInput(f"cron expression {expression!r}: {error}") from None
    try:
        next(CronSim(normalized, datetime(2000, 1, 1)))
    except (CronSimError, StopIteration):
        raise BadInput(f"cron expression {expression!r} is never due: no such date exists") from None
    return Cron(text, normalized)


def zone(name: str) -> ZoneInfo:
    """Return an IANA time zone. Raises `BadInput` if there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(
            f"unknown time zone {safe_repr(name, 200)} (allowed: IANA names such as UTC or Europe/Berlin)"
        ) from None


def validate_cron_expression(expression: str) -> str | None:
    """Return None for a valid expression, else what is wrong with it."""
    try:
        cron(expression)
    except BadInput as error:
        return str(error)
    return None


def get_next_executions(
    expression: str, count: int, timezone: str = "UTC", *, after: datetime | None = None
) -> list[datetime]:
    """Return the next `count` due instants in UTC, after `after` or now.

    Raises `BadInput` if the expression or the time zone is invalid, or `count` is not between 1 and 1000.
    """
    if not 1 <= count <= 1000:
        raise BadInput(f"count {count} is invalid (allowed: 1 to 1000)")
    instants = cron(expression).after(after or datetime.now(UTC), zone(timezone))
    return list(itertools.islice(instants, count))
