"""Due instants across clock changes, compared with an oracle that tests every minute of elapsed time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest

from nomad_actors.scheduler import cron
from tests.scheduler.cron_oracle import Fitting, Meaning, random_expression

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
#: All these zones change their clocks only on a full or half hour.
BLOCK = timedelta(minutes=30)
MINUTE = timedelta(minutes=1)
ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/St_Johns")
EXPRESSIONS = ("30 2 * * *", "5,45 1-3 * * sun", "0 */3 * * *", "59 23 31 * mon")


@lru_cache(maxsize=1)
def blocks(zone_name: str) -> list[datetime]:
    """Return the wall clock time at the start of each half hour of these years."""
    zone, count = ZoneInfo(zone_name), int((END - BEGIN) / BLOCK)
    return [(BEGIN + number * BLOCK).astimezone(zone) for number in range(count)]


def oracle(expression: str, zone_name: str) -> Iterator[datetime]:
    """Yield every due instant by testing every minute."""
    fitting, elapsing = Meaning(expression).fitting(), Meaning(expression).is_star(1)
    before: datetime | None = None
    for number, local in enumerate(blocks(zone_name)):
        start = BEGIN + number * BLOCK
        wall = local.replace(tzinfo=None)
        found = set()
        if before is not None and wall - before > BLOCK and not elapsing and fits_within(fitting, before + BLOCK, wall):
            found.add(start)
        once_more = local.fold == 1 and not elapsing
        if wall.hour in fitting.hours and fitting.day(wall.date()) and not once_more:
            found.update(start + m * MINUTE for m in range(30) if wall.minute + m in fitting.minutes)
        yield from sorted(found)
        before = wall


def fits_within(fitting: Fitting, begin: datetime, end: datetime) -> bool:
    """Return True if a wall clock time in a gap matches: a fixed hour is due when the gap ends."""
    return any(fitting.wall(begin + minute * MINUTE) for minute in range(int((end - begin) / MINUTE)))


def minute_oracle(expression: str, zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield every due instant from `begin` to before `end` minute by minute, for gaps of any length."""
    fitting, elapsing = Meaning(expression).fitting(), Meaning(expression).is_star(1)
    at, before = begin, (begin - MINUTE).astimezone(zone).replace(tzinfo=None)
    while at < end:
        local = at.astimezone(zone)
        wall = local.replace(tzinfo=None)
        skipped = wall - before > MINUTE and not elapsing and fits_within(fitting, before + MINUTE, wall)
        if skipped or (fitting.wall(wall) and (elapsing or local.fold == 0)):
            yield at
        at, before = at + MINUTE, wall


@pytest.mark.parametrize("zone_name", ZONES)
def test_four_years_agree_with_every_minute_of_them(zone_name: str) -> None:
    zone = ZoneInfo(zone_name)
    for expression in EXPRESSIONS:
        ours = itertools.takewhile(lambda due: due < END, cron(expression).after(BEGIN - MINUTE, zone))
        for mine, theirs in itertools.zip_longest(ours, oracle(expression, zone_name)):
            assert mine == theirs, expression


#: Days on which clocks change by half an hour, at midnight, by two hours or by a day.
CHANGES = (
    ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
    ("Asia/Beirut", datetime(2026, 3, 28, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 23, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 10, 29, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 3, 8, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 3, 29, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 10, 25, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, tzinfo=UTC)),
)


@pytest.mark.parametrize(("zone_name", "day"), CHANGES)
def test_odd_changes_of_the_clocks_agree_with_every_minute_around_them(zone_name: str, day: datetime) -> None:
    draw, zone = random.Random(day.toordinal()), ZoneInfo(zone_name)
    begin, end = day - timedelta(hours=18), day + timedelta(hours=30)
    hours = ("*", "*/2", "*/3", "0", "1", "2", "0-3", "22-2", "23-1/2")
    for _ in range(25):
        minute, _, _, _, week = random_expression(draw).split()
        days = draw.choice(["*", "*/2", str(day.day), f"{day.day}-3"])
        expression = f"{minute} {draw.choice(hours)} {days} * {draw.choice(['*', week])}"
        ours = list(itertools.takewhile(lambda due: due < end, cron(expression).after(begin - MINUTE, zone)))
        assert ours == list(minute_oracle(expression, zone, begin, end)), expression
