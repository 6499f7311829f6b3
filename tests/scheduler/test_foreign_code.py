"""If an application's code raises anything for one schedule, the scheduler still fires the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import model_validator

from nomad_actors.clock import ManualClock
from nomad_actors.errors import BadInput
from nomad_actors.queues import Queues
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.scheduler import Schedules
from nomad_actors.scheduler.status import get_job_status
from tests.scheduler.conftest import a_schedule
from tests.scheduler.test_process import scheduler, waiting
from tests.support.foreign_values import RAISED, encoder_that_raises


class Exits(Payload):
    """A payload whose reading ends the program."""

    @model_validator(mode="after")
    def _exits(self) -> Exits:
        raise SystemExit(0)


def test_a_payload_that_ends_its_program_is_recorded_and_does_not_stop_other_schedules(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    queues.register(JobType(name="exits", queue="ticks", payload=Exits, result=Result, run=lambda _: Result()))
    each = scheduler(schedules, clock, a_schedule(name="a-bad", job_type="exits", data={}), a_schedule())
    clock.advance(seconds=60)
    each.schedule()
    assert waiting(queues) == 1
    (slot,) = get_job_status(queues, "a-bad")["slots"]
    assert (slot["outcome"], "its own code failed (SystemExit: 0)" in slot["missed"]) == ("missed", True)


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: each.__name__)
def test_an_error_of_an_argument_is_raised_to_its_caller(
    queues: Queues, schedules: Schedules, raised: Callable[[], BaseException]
) -> None:
    class Fails:
        def __getattribute__(self, name: str) -> object:
            raise raised()

        __str__ = __eq__ = __getattribute__  # type: ignore[assignment]

    with pytest.raises(BadInput, match="own code failed"):
        queues.add_job("ticks", "tick", {"number": 1}, requested_by=Fails())  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="own code failed"):
        schedules.schedule_job("mine", "* * * * *", Fails())  # type: ignore[arg-type]


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: each.__name__)
def test_any_error_of_one_schedule_does_not_stop_the_others(
    queues: Queues, schedules: Schedules, clock: ManualClock, raised: Callable[[], BaseException]
) -> None:
    each = scheduler(schedules, clock, a_schedule(name="a-bad", data={"number": 666}), a_schedule())
    clock.advance(seconds=60)
    with encoder_that_raises(raised, "666"):
        each.schedule()
    assert waiting(queues) == 1
    each.schedule()
    assert waiting(queues) == 2
