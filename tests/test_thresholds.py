"""The table of thresholds, and what a time factor does to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from nomad_actors import thresholds
from nomad_actors.jobs import JOB_TYPES, SCHEDULES
from nomad_actors.scheduler.clock_watch import MAX_OFFSET_SECONDS


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every number of the table with the name of its field."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name), field.name)
    elif isinstance(value, tuple):
        for each in value:
            yield from leaves(each, name)
    elif hasattr(value, "items"):
        for each in value.values():
            yield from leaves(each, name)
    elif isinstance(value, int | float):
        yield name, value


def test_a_factor_multiplies_every_duration_and_nothing_else() -> None:
    real, fast = list(leaves(thresholds.table())), list(leaves(thresholds.table(1 / 60)))
    assert [name for name, _ in real] == [name for name, _ in fast]
    scaled = 0
    for (name, before), (_, after) in zip(real, fast, strict=True):
        if name == "silent_seconds":
            assert after == 5.0
        elif name.endswith("_seconds") and name not in thresholds.UNSCALED:
            scaled += 1
            assert after == pytest.approx(before / 60, abs=0.001), name
        else:
            assert after == before, name
    assert scaled > 40


def test_a_larger_factor_has_no_least() -> None:
    assert thresholds.table(2).schedules.silent_seconds == 120


def test_health_and_the_alerts_read_the_same_numbers() -> None:
    all_of_them = thresholds.table()
    assert all_of_them.by_queue["historical-data"] is thresholds.of_queue("historical-data")
    assert all_of_them.default is thresholds.of_queue("any")
    assert all_of_them.doctor is thresholds.DOCTOR
    assert all_of_them.schedules is thresholds.SCHEDULES


def test_a_factor_that_stops_time_is_refused() -> None:
    for factor in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="time factor must be above 0"):
            thresholds.table(factor)


def test_a_queue_is_judged_by_its_number_or_by_its_time_to_drain() -> None:
    for job_type in JOB_TYPES:
        limits = thresholds.of_queue(job_type.queue)
        assert (limits.waiting_jobs is None) != (limits.drain_seconds is None)


def test_a_clock_is_a_problem_where_schedulers_hold() -> None:
    assert thresholds.DOCTOR.clock_problem_seconds == MAX_OFFSET_SECONDS


def test_a_schedules_own_grace_is_of_one_that_there_is() -> None:
    assert set(thresholds.ALERTS.success_grace_by_schedule_seconds) <= {schedule.name for schedule in SCHEDULES}
