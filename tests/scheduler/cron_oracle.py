"""The meaning of a cron expression by the definition of its fields, computed without any of our code."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

MINUTE = timedelta(minutes=1)
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
#: Each field's values in order, as a cycle: the clock, the month, the year or the week.
RINGS = [list(range(60)), list(range(24)), list(range(1, 32)), list(range(1, 13)), list(range(7))]
NAMES = [[], [], [], MONTHS, WEEKDAYS]
LAST = [59, 23, 31, 12, 7]


def number(text: str, field: int) -> int:
    names = NAMES[field]
    if text.lower() in names:
        return RINGS[field][names.index(text.lower())]
    return int(text)


def on_ring(value: int, field: int) -> int:
    return 0 if field == 4 and value == 7 else value


def term_values(term: str, field: int) -> set[int]:
    span, _, step = term.partition("/")
    ring, every = RINGS[field], int(step or 1)
    if span == "*":
        return set(ring[::every])
    first, dash, last = span.partition("-")
    start = number(first, field)
    if not dash:
        steps = range(start, LAST[field] + 1, every) if step else [start]
        return {on_ring(value, field) for value in steps}
    end = number(last, field)
    # Step along the cycle, with wrap-around, until the end is reached.
    if field == 4 and start <= end == 7:
        walk = list(range(start, 8))
    else:
        walk, at = [], on_ring(start, field)
        while not walk or walk[-1] != on_ring(end, field):
            walk.append(at)
            at = ring[(ring.index(at) + 1) % len(ring)]
    return {on_ring(value, field) for value in walk[::every]}


@dataclass(frozen=True)
class Meaning:
    """The values of the five fields of an expression."""

    text: str

    def values(self, field: int) -> set[int]:
        return set().union(*(term_values(term, field) for term in self.text.split()[field].split(",")))

    def is_star(self, field: int) -> bool:
        return self.text.split()[field].startswith("*")

    def fitting(self) -> Fitting:
        return Fitting(*map(self.values, range(5)), either=not self.is_star(2) and not self.is_star(4))


@dataclass(frozen=True)
class Fitting:
    minutes: set[int]
    hours: set[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]
    either: bool

    def day(self, day: date) -> bool:
        in_month, in_week = day.day in self.days, (day.weekday() + 1) % 7 in self.weekdays
        return day.month in self.months and (in_month or in_week if self.either else in_month and in_week)

    def wall(self, at: datetime) -> bool:
        return at.minute in self.minutes and at.hour in self.hours and self.day(at.date())


def random_term(draw: random.Random, field: int) -> str:
    ring = [*RINGS[field], *([7] if field == 4 else [])]

    def value() -> str:
        names = NAMES[field]
        if names and draw.random() < 0.4:
            return draw.choice([str.lower, str.upper, str.title])(draw.choice(names))
        return str(draw.choice(ring))

    span = draw.choice(["*", value(), f"{value()}-{value()}", f"{value()}-{value()}"])
    return span if draw.random() < 0.5 else f"{span}/{draw.choice([1, 2, 3, 5, 7, 31])}"


def random_expression(draw: random.Random) -> str:
    return " ".join(
        ",".join(random_term(draw, field) for _ in range(draw.choice([1, 1, 1, 2, 3]))) for field in range(5)
    )


def due_minutes(expression: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the matching wall clock times from `begin` to before `end` by testing every minute."""
    fitting = Meaning(expression).fitting()
    at = begin
    while at < end:
        if not fitting.day(at.date()):
            at = datetime(at.year, at.month, at.day) + timedelta(days=1)
            continue
        if fitting.wall(at):
            yield at
        at += MINUTE
