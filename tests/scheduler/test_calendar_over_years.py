"""Twenty years of due instants in several zones, against an oracle that looks at every minute, and a known library."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from nomad_actors.scheduler import Cron, cron

BEGIN, END = datetime(2016, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
#: No zone of these changes its clocks anywhere but on a half hour.
BLOCK = timedelta(minutes=30)
MINUTE = timedelta(minutes=1)
ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/St_Johns")
EXPRESSIONS = ("30 2 * * *", "5,45 1-3 * * sun", "0 */3 * * *", "59 23 31 * mon")


@lru_cache(maxsize=1)
def blocks(zone_name: str) -> list[datetime]:
    """Return the wall time at the beginning of each half hour of the twenty years."""
    zone, count = ZoneInfo(zone_name), int((END - BEGIN) / BLOCK)
    return [(BEGIN + number * BLOCK).astimezone(zone) for number in range(count)]


def fits(parsed: Cron, wall: datetime) -> bool:
    return wall.minute in parsed.minutes and wall.hour in parsed.hours and parsed.matches(wall.date())


def oracle(parsed: Cron, zone_name: str) -> Iterator[datetime]:
    """Yield every due instant, found by looking at every minute."""
    before: datetime | None = None
    for number, local in enumerate(blocks(zone_name)):
        start = BEGIN + number * BLOCK
        wall = local.replace(tzinfo=None)
        skipped = before is not None and wall - before > BLOCK
        found = set()
        if skipped and before is not None and not parsed.elapsing_hours:
            # Wall times that do not exist: a fixed hour among them is due when the gap ends.
            gap = range(int((wall - before - BLOCK) / MINUTE))
            if any(fits(parsed, before + BLOCK + minute * MINUTE) for minute in gap):
                found.add(start)
        once_more = local.fold == 1 and not parsed.elapsing_hours
        if wall.hour in parsed.hours and parsed.matches(wall.date()) and not once_more:
            found.update(start + m * MINUTE for m in range(30) if wall.minute + m in parsed.minutes)
        yield from sorted(found)
        before = wall


@pytest.mark.parametrize("zone_name", ZONES)
def test_twenty_years_agree_with_every_minute_of_them(zone_name: str) -> None:
    zone = ZoneInfo(zone_name)
    for expression in EXPRESSIONS:
        parsed = cron(expression)
        ours = itertools.takewhile(lambda due: due < END, parsed.after(BEGIN - MINUTE, zone))
        for mine, theirs in itertools.zip_longest(ours, oracle(parsed, zone_name)):
            assert mine == theirs, expression


def test_a_well_kept_library_agrees() -> None:
    draw = random.Random(11)
    for _ in range(150):
        # With `*` minutes of a fixed hour it goes by elapsed time, where a fixed hour of ours is due once.
        minute = draw.choice(["0", "30", "3,41", "10-20/5"])
        hour = draw.choice(["*", "*/2", "2", "1-3", "0,12", "22"])
        day, month = draw.choice(["*", "1-15", "*/4", "31"]), draw.choice(["*", "3", "10", "*/2", "mar-may"])
        week = draw.choice(["*", "0", "1-5", "sun", "6,7"])
        expression = f"{minute} {hour} {day} {month} {week}"
        zone = ZoneInfo(draw.choice(ZONES))
        start = BEGIN + timedelta(minutes=draw.randrange(int((END - BEGIN) / MINUTE)))
        theirs = [due.astimezone(UTC) for due in itertools.islice(CronSim(expression, start.astimezone(zone)), 60)]
        ours = list(itertools.islice(cron(expression).after(start, zone), 60))
        assert ours == theirs, (expression, zone.key, start)
