"""Bugs of periodiq 0.14, each tested with its classes and with ours: its own fail, ours do not.

The middleware that drops late runs and retries is asked in `tests/middleware/test_periodic_option.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import periodiq
import pytest

from nomad_actors.errors import BadInput
from nomad_actors.scheduler import cron

Due = Callable[[str, datetime, datetime, str], int]


def due_by_periodiq(expression: str, begin: datetime, end: datetime, zone_name: str) -> int:
    """Count the minutes at which periodiq's scheduler would fire."""
    spec: Any = periodiq.cron(expression)
    at, count = pendulum.instance(begin).in_timezone(zone_name), 0
    while at < end:
        count += bool(spec.validate(at))
        at = at.add(minutes=1)
    return count


def due_by_us(expression: str, begin: datetime, end: datetime, zone_name: str) -> int:
    """Count our due instants."""
    instants = cron(expression).after(begin - timedelta(minutes=1), ZoneInfo(zone_name))
    return sum(1 for _ in iter(lambda: next(instants) < end, False))


@pytest.fixture(
    params=[
        pytest.param(due_by_us, id="ours"),
        pytest.param(due_by_periodiq, id="periodiq", marks=pytest.mark.xfail(strict=True, reason="periodiq's bug")),
    ]
)
def due(request: pytest.FixtureRequest) -> Due:
    """How often an expression is due between two instants."""
    counted: Due = request.param
    return counted


@pytest.mark.parametrize("expression", ["0 9 * * 0", "0 9 * * sun"])
def test_sundays_are_due(due: Due, expression: str) -> None:
    sunday = datetime(2026, 11, 29, tzinfo=UTC)
    assert due(expression, sunday, sunday + timedelta(days=1), "UTC") == 1


def test_a_fixed_hour_that_does_not_exist_runs_on_that_day(due: Due) -> None:
    day = datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert due("30 2 * * *", day, day + timedelta(hours=23), "Europe/Paris") == 1


def test_a_fixed_hour_that_occurs_twice_runs_once(due: Due) -> None:
    day = datetime(2026, 10, 24, 22, tzinfo=UTC)
    assert due("30 2 * * *", day, day + timedelta(hours=25), "Europe/Paris") == 1


@pytest.mark.parametrize("expression", ["0 0 1 jan *", "0 9 * * fri-mon", "0 22-2 * * *"])
def test_names_and_ranges_across_the_end_are_understood(due: Due, expression: str) -> None:
    begin = datetime(2027, 1, 1, tzinfo=UTC)
    assert due(expression, begin, begin + timedelta(days=1), "UTC") >= 1


def refused_by_us(expression: str) -> None:
    """Parse as we do."""
    cron(expression)


def refused_by_periodiq(expression: str) -> None:
    """Parse as periodiq does."""
    periodiq.cron(expression)


@pytest.mark.parametrize(
    "parse",
    [
        pytest.param(refused_by_us, id="ours"),
        pytest.param(refused_by_periodiq, id="periodiq", marks=pytest.mark.xfail(strict=True)),
    ],
)
def test_a_day_that_never_comes_is_refused(parse: Callable[[str], None]) -> None:
    with pytest.raises(BadInput, match="never due"):
        parse("0 0 31 2 *")
