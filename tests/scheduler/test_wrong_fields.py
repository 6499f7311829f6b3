"""Every field of a schedule is checked strictly; a wrong stored field does not stop other schedules."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import redis

from nomad_actors.clock import ManualClock
from nomad_actors.errors import BadInput
from nomad_actors.queues import Queues
from nomad_actors.scheduler import Schedules
from tests.admin.test_unreadable import SCHEDULES
from tests.scheduler.conftest import a_schedule
from tests.scheduler.test_process import scheduler


class Hostile:
    """A value whose `repr` fails."""

    def __init__(self, raised: type[BaseException] = ValueError) -> None:
        self.raised = raised

    def __repr__(self) -> str:
        raise self.raised("no repr")


ANYTHING = [Hostile(ValueError), Hostile(SystemExit), b"x", object(), ["x"], float("nan"), "\ud800", 2**70]
WRONG: dict[str, list[object]] = {
    "name": [None, 5, "", "a:b", "a b", "a\n", "x" * 101, *ANYTHING],
    "description": [None, 5, "x" * 1001, *ANYTHING],
    "expression": [None, 5, "", "* * * *", "* " * 900, "*/0 * * * *", *ANYTHING],
    "job_type": [None, 5, "", *ANYTHING],
    "data": [None, 5, "x", [1], {1: 2}, {"n": float("nan")}, {"n": object()}, {"n": "\ud800"}, *ANYTHING],
    "timezone": [None, 5, "", "Mars", "../x", "/etc/passwd", "\0", "x" * 5000, *ANYTHING],
    "enabled": [None, "yes", "true", 1, 0, *ANYTHING],
    "run_on_init": [None, "no", 0, *ANYTHING],
    "misfire": [None, "x", 5, *ANYTHING],
    "overlap": ["x", 5, *ANYTHING],
    "max_lateness_seconds": [float("inf"), -float("inf"), -1, True, "60", 10**400, *ANYTHING],
    "priority": [True, 1.5, *ANYTHING[:-2]],
    "attempts": [True, 0, -1, 1.5, "3", *ANYTHING],
}


@pytest.mark.parametrize("field", sorted(WRONG))
def test_a_wrong_field_is_refused_with_what_is_allowed(field: str) -> None:
    for number, value in enumerate(WRONG[field]):
        with pytest.raises(BadInput) as refused:
            a_schedule(**{field: value})
        words = str(refused.value)
        assert len(words) < 700, (field, number)
        assert "allowed" in words or "never due" in words, (field, number, words)


@pytest.mark.parametrize("field", ["enabled", "run_on_init", "timezone", "max_lateness_seconds", "misfire", "overlap"])
def test_schedule_job_refuses_it_too_and_stores_nothing(schedules: Schedules, field: str) -> None:
    for value in WRONG[field]:
        with pytest.raises(BadInput):
            schedules.schedule_job("wrong", "* * * * *", ("tick", {"number": 1}), **{field: value})  # type: ignore[arg-type]
    assert schedules.survey() == ([], [])


def test_the_scheduler_continues_beside_an_unreadable_schedule(
    queues: Queues, schedules: Schedules, clock: ManualClock, redis_client: redis.Redis
) -> None:
    one = scheduler(schedules, clock)
    base = "nomad:{ticks}"
    for number, record in enumerate(SCHEDULES):
        # Due as well, if it can be read.
        fields = json.loads(record)
        if fields["watermark"] == 1e12:
            fields["watermark"] = clock.now_ms() - 60_000
        redis_client.hset(f"{base}:schedules", f"zz{number}", json.dumps(fields))
    redis_client.xadd(f"{base}:slots:zz0", {"no": "such"})
    redis_client.hset(f"{base}:schedules", "its-slots", json.dumps({**fields, "overrides": "{}"}))
    redis_client.xadd(f"{base}:slots:its-slots", {"no": "such"})
    redis_client.incr("nomad:schedules:changes")
    for minute in range(1, 4):
        clock.advance(seconds=60)
        one.schedule()
        jobs = [job.id for job in queues.get_queue("ticks").jobs("waiting", 0, 99)]
        assert sum(job.startswith("schedule:every-minute:") for job in jobs) == minute
    assert schedules.survey()[1]


class Unknowable:
    """Even its class cannot be read, as for a proxy outside a request."""

    __class__ = property(lambda _: 1 // 0)  # type: ignore[assignment]


FIELDS = ["name", "cron", "job", "timezone", "run_on_init", "enabled", "misfire", "overlap", "max_lateness_seconds"]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("make", [Hostile, Unknowable, lambda: (Hostile(), {}), lambda: "x" * 100_000])
def test_schedule_job_refuses_a_value_that_cannot_be_read(
    schedules: Schedules, field: str, make: Callable[[], object]
) -> None:
    call = {"name": "wrong", "cron": "* * * * *", "job": ("tick", {"number": 1}), field: make()}
    with pytest.raises(BadInput) as refused:
        schedules.schedule_job(**call)  # type: ignore[arg-type]
    assert len(str(refused.value)) < 2_000


def test_a_job_with_a_number_that_python_does_not_write_is_refused(schedules: Schedules) -> None:
    for job in (10**5_000, (10**5_000, {}), [10**5_000], ("tick", {"number": 10**5_000})):
        with pytest.raises(BadInput):
            schedules.schedule_job("wrong", "* * * * *", job)  # type: ignore[arg-type]
