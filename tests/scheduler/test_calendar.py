"""When cron expressions are due, against a minute-by-minute oracle and by hand."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import periodiq
import pytest

from nomad_actors.errors import BadInput
from nomad_actors.scheduler import CRON_EXPRESSIONS, cron, get_next_executions, validate_cron_expression
from tests.scheduler.conftest import a_schedule
from tests.scheduler.cron_oracle import Meaning, due_minutes, random_expression

#: A Wednesday.
START = datetime(2026, 11, 25, 10, 7, 30, tzinfo=UTC)


def due(expression: str, count: int = 3, timezone: str = "UTC", after: datetime = START) -> list[str]:
    zone = ZoneInfo(timezone)
    found = get_next_executions(expression, count, timezone, after=after)
    return [instant.astimezone(zone).strftime("%a %Y-%m-%d %H:%M %Z") for instant in found]


@pytest.mark.parametrize("name", sorted(CRON_EXPRESSIONS))
def test_the_eleven_expressions_are_valid_and_due(name: str) -> None:
    assert validate_cron_expression(CRON_EXPRESSIONS[name]) is None
    assert len(get_next_executions(CRON_EXPRESSIONS[name], 5)) == 5


def test_there_are_eleven() -> None:
    assert len(CRON_EXPRESSIONS) == 11


@pytest.mark.parametrize("sunday", ["0", "7", "sun", "SUN"])
def test_sundays_are_due(sunday: str) -> None:
    assert due(f"0 9 * * {sunday}", 2) == ["Sun 2026-11-29 09:00 UTC", "Sun 2026-12-06 09:00 UTC"]


def test_names_and_ranges_across_the_end_are_understood() -> None:
    assert due("0 0 * jan *", 1) == ["Fri 2027-01-01 00:00 UTC"]
    assert due("0 0 * * fri-mon", 4)[0] == "Fri 2026-11-27 00:00 UTC"
    assert [d[:3] for d in due("0 0 * * fri-mon", 4)] == ["Fri", "Sat", "Sun", "Mon"]
    assert [d[15:20] for d in due("0 22-2 * * *", 5)] == ["22:00", "23:00", "00:00", "01:00", "02:00"]
    assert due("@weekly", 1) == ["Sun 2026-11-29 00:00 UTC"]


def test_either_of_two_restricted_day_fields_is_enough() -> None:
    assert due("0 0 1 * mon", 3) == [
        "Mon 2026-11-30 00:00 UTC",
        "Tue 2026-12-01 00:00 UTC",
        "Mon 2026-12-07 00:00 UTC",
    ]


def test_the_29th_of_february_is_found() -> None:
    assert due("0 0 29 2 *", 2) == ["Tue 2028-02-29 00:00 UTC", "Sun 2032-02-29 00:00 UTC"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("* * * *", "has 4 fields (allowed: five"),
        ("60 * * * *", "'60' in the field minute is invalid (allowed: 0 to 59)"),
        ("* 24 * * *", "field hour"),
        ("* * 0 * *", "field day of the month is invalid (allowed: 1 to 31)"),
        ("* * * foo *", "1 to 12 or jan to dec"),
        ("* * * * 8", "0 to 7 or sun to sat"),
        ("*/0 * * * *", "step '0' in the field minute"),
        ("0 0 31 2 *", "never due"),
        ("@reboot", "has 1 fields"),
        ("", "has 0 fields"),
        ("1,,2 * * * *", "field minute"),
    ],
)
def test_an_invalid_expression_names_the_reason(expression: str, message: str) -> None:
    reason = validate_cron_expression(expression)
    assert reason is not None
    assert message in reason


def test_periodiqs_own_specification_is_read_by_its_text() -> None:
    spec = periodiq.cron("0 9 * * 0")
    assert cron(spec) == cron("0 9 * * 0")
    assert a_schedule(expression=spec).expression == "0 9 * * 0"
    with pytest.raises(BadInput, match="five fields as text"):
        cron(spec.replace())


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown time zone 'Mars/Olympus'"):
        get_next_executions("* * * * *", 1, "Mars/Olympus")


def test_a_fixed_hour_that_does_not_exist_runs_when_the_gap_ends() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert due("30 2 * * *", 3, "Europe/Paris", before) == [
        "Sun 2026-03-29 03:00 CEST",
        "Mon 2026-03-30 02:30 CEST",
        "Tue 2026-03-31 02:30 CEST",
    ]


def test_a_fixed_hour_that_occurs_twice_runs_once() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert due("30 2 * * *", 2, "Europe/Paris", before) == ["Sun 2026-10-25 02:30 CEST", "Mon 2026-10-26 02:30 CET"]


@pytest.mark.parametrize("day", [datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)])
def test_stepped_minutes_of_every_hour_follow_elapsed_time(day: datetime) -> None:
    found = get_next_executions("*/15 * * * *", 40, "Europe/Paris", after=day)
    assert {b - a for a, b in itertools.pairwise(found)} == {timedelta(minutes=15)}


@pytest.mark.parametrize(
    ("weekdays", "expected"),
    [
        ("fri-tue/2", "Fri Sun Tue"),
        ("sat-mon/2", "Sat Mon"),
        ("7-2/2", "Sun Tue"),
        ("7-2", "Sun Mon Tue"),
        ("5-7/2", "Fri Sun"),
        ("7-7", "Sun"),
        ("sun-sat/3", "Sun Wed Sat"),
        ("sat-sat/4", "Sat"),
    ],
)
def test_a_range_over_the_end_of_the_week_counts_sunday_once(weekdays: str, expected: str) -> None:
    names = {each[:3] for each in due(f"0 0 * * {weekdays}", 40)}
    assert names == set(expected.split())


def test_a_day_that_exists_only_every_28_or_40_years_is_found() -> None:
    assert due("0 0 29 2 */7", 1) == ["Sun 2032-02-29 00:00 UTC"]
    late = datetime(2088, 3, 1, tzinfo=UTC)
    assert due("0 0 29 2 */7", 1, after=late) == ["Sun 2128-02-29 00:00 UTC"]


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kathmandu"])
def test_random_expressions_agree_with_an_oracle_that_tries_every_minute(timezone: str) -> None:
    draw = random.Random(7)
    zone = ZoneInfo(timezone)
    for _ in range(150):
        expression = random_expression(draw)
        begin = datetime(2026, draw.randint(1, 12), draw.randint(1, 28), draw.randint(0, 23), draw.randint(0, 59))
        if not any(Meaning(expression).fitting().day(date(2024, 1, 1) + timedelta(days=n)) for n in range(1500)):
            continue
        walls = due_minutes(expression, begin + timedelta(minutes=1), begin + timedelta(days=400))
        expected = [wall.replace(tzinfo=zone).astimezone(UTC) for wall in itertools.islice(walls, 50)]
        found = list(itertools.islice(cron(expression).after(begin.replace(tzinfo=zone), zone), len(expected)))
        assert found == expected, expression
