"""Schedules are declared by the code and changed by operators, both stored apart; errors name the reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from nomad_actors import scheduler as service
from nomad_actors.clock import ManualClock
from nomad_actors.errors import BadInput, BadPayload, UnknownJobType, UnknownSchedule, WrongState
from nomad_actors.queues import Queues
from nomad_actors.queues import default as process_queues
from nomad_actors.scheduler import CRON_EXPRESSIONS, Schedules, SlotScheduler
from tests.scheduler.conftest import TICK, a_schedule


@pytest.fixture
def declared(schedules: Schedules) -> Schedules:
    """The schedules, with one that the code declares."""
    schedules.declare([a_schedule()])
    return schedules


def test_an_operators_changes_survive_a_deploy(declared: Schedules) -> None:
    declared.stop_job("every-minute")
    declared.declare([a_schedule(description="a new release says more")])
    state = declared.get("every-minute")
    assert state.schedule.description == "a new release says more"
    assert not state.schedule.enabled
    assert state.overridden == ("enabled",)
    declared.start_job("every-minute")
    assert declared.get("every-minute").overridden == ()


def test_a_changed_definition_is_the_operators_until_it_equals_the_codes(declared: Schedules) -> None:
    declared.schedule_job("every-minute", "*/5 * * * *", ("tick", {"number": 1}), overlap="queue")
    assert declared.get("every-minute").overridden == ("expression",)
    declared.declare([a_schedule(data={"number": 9})])
    state = declared.get("every-minute")
    assert (state.schedule.expression, state.schedule.data) == ("*/5 * * * *", {"number": 9})
    declared.schedule_job("every-minute", "* * * * *", ("tick", {"number": 9}), overlap="queue")
    assert declared.get("every-minute").overridden == ()


def test_a_deploy_does_not_restart_an_operators_calendar(declared: Schedules, clock: ManualClock) -> None:
    declared.schedule_job("every-minute", "*/5 * * * *", ("tick", {"number": 1}), overlap="queue")
    watermark_ms = declared.get("every-minute").stored.watermark_ms
    clock.advance(seconds=3600)
    declared.declare([a_schedule(description="a new release says more")])
    assert declared.get("every-minute").stored.watermark_ms == watermark_ms


def test_fields_of_a_newer_release_are_read_or_ignored(declared: Schedules, queues: Queues) -> None:
    def newer(changes: dict[str, object]) -> Callable[[object], dict[str, object]]:
        return lambda _: {"enabled": True, "declared": None, "overrides": {**a_schedule().as_json(), **changes}}

    declared.book.put("ticks", "with-more", newer({"of-tomorrow": 1}))
    declared.book.put("ticks", "beyond-us", newer({"misfire": "of-tomorrow"}))
    assert [each.schedule.name for each in declared.all()] == ["every-minute", "with-more"]


def test_an_invalid_record_does_not_hide_the_others(declared: Schedules, redis_client: redis.Redis) -> None:
    for name, record in (("x", "rubbish"), ("y", "{}"), ("z", '{"version": []}')):
        redis_client.hset("nomad:{ticks}:schedules", name, record)
    assert [each.schedule.name for each in declared.all()] == ["every-minute"]


def test_a_schedule_that_its_definition_switches_on_begins_now(
    declared: Schedules, clock: ManualClock, queues: Queues
) -> None:
    declared.stop_job("every-minute")
    clock.advance(seconds=3600)
    declared.schedule_job("every-minute", "* * * * *", ("tick", {"number": 1}), overlap="queue")
    SlotScheduler(declared, [a_schedule()], clock).schedule()
    assert queues.get_queue("ticks").counts()["waiting"] == 0


def test_declaring_the_same_again_changes_nothing(declared: Schedules) -> None:
    version, changes = declared.get("every-minute").stored.version, declared.book.changes()
    declared.declare([a_schedule()])
    assert declared.get("every-minute").stored.version == version
    assert declared.book.changes() == changes


def test_a_schedule_that_is_no_longer_declared_is_removed_and_operators_schedules_stay(declared: Schedules) -> None:
    declared.schedule_job("by-hand", "@daily", (TICK, {"number": 1}))
    declared.declare([])
    assert [each.schedule.name for each in declared.all()] == ["by-hand"]
    declared.remove_job("by-hand")
    assert declared.all() == []


def test_a_declared_schedule_cannot_be_removed_but_stopped(declared: Schedules) -> None:
    with pytest.raises(WrongState, match="stop it instead"):
        declared.remove_job("every-minute")


def test_a_schedule_moves_to_another_queue_and_continues_at_its_watermark(
    declared: Schedules, clock: ManualClock, queues: Queues
) -> None:
    SlotScheduler(declared, [a_schedule()], clock).schedule()
    declared.stop_job("every-minute")
    watermark_ms = declared.get("every-minute").stored.watermark_ms
    clock.advance(seconds=3600)
    declared.declare([a_schedule(queue="tocks", job_type="tock")])
    state = declared.get("every-minute")
    assert state.schedule.queue == "tocks"
    assert state.stored.watermark_ms == watermark_ms
    assert not state.schedule.enabled


def test_a_new_calendar_applies_from_the_change_on(declared: Schedules, clock: ManualClock, queues: Queues) -> None:
    each = SlotScheduler(declared, [a_schedule(expression="0 3 * * *")], clock)
    each.schedule()
    clock.advance(seconds=5 * 3600)
    declared.declare([a_schedule(expression="0 * * * *")])
    each.schedule()
    assert queues.get_queue("ticks").counts()["waiting"] == 0
    clock.advance(seconds=3600)
    each.schedule()
    assert queues.get_queue("ticks").counts()["waiting"] == 1


def test_a_manual_run_has_its_own_slot_and_does_not_change_the_calendar(
    declared: Schedules, clock: ManualClock, queues: Queues
) -> None:
    declared.stop_job("every-minute")
    before = declared.get("every-minute").stored.watermark_ms
    added = declared.run_job("every-minute", by="somebody")
    assert (added.queue, added.state) == ("ticks", "waiting")
    assert declared.get("every-minute").stored.watermark_ms == before
    (slot,), _ = declared.slots(declared.get("every-minute"))
    assert (slot.kind, slot.by) == ("manual", "somebody")


def test_a_manual_run_waits_for_the_previous_one_unless_forced(schedules: Schedules, clock: ManualClock) -> None:
    schedules.declare([a_schedule(overlap="skip")])
    schedules.run_job("every-minute")
    clock.advance(seconds=1)
    with pytest.raises(WrongState, match="the previous run is still waiting"):
        schedules.run_job("every-minute")
    clock.advance(seconds=1)
    assert schedules.run_job("every-minute", force=True).state == "waiting"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.schedule_job("x", "* * * *", ("tick", {"number": 1})), BadInput, "has 4 fields"),
        (lambda s: s.schedule_job("x y", "@daily", ("tick", {"number": 1})), BadInput, "schedule name 'x y'"),
        (lambda s: s.schedule_job("x", "@daily", ("tick", {"no": 1})), BadPayload, "number"),
        (lambda s: s.schedule_job("x", "@daily", ("tack", {})), UnknownJobType, "did you mean"),
        (lambda s: s.schedule_job("x", "@daily", print), BadInput, "a plain function cannot be scheduled"),
        (lambda s: s.schedule_job("x", "@daily", "tick"), BadInput, "a job type with its data"),
        (lambda s: s.schedule_job("x", "@daily", ("tick", {"number": 1}), timezone="Mars"), BadInput, "time zone"),
        (lambda s: s.schedule_job("x", "@daily", ("tick", {"number": 1}), misfire="no"), BadInput, "skip, once, all"),
        (lambda s: s.schedule_job("x", "@daily", ("tick", {"number": 1}), overlap="no"), BadInput, "skip, queue"),
        (
            lambda s: s.schedule_job("x", "@daily", ("tick", {"number": 1}), misfire="all", overlap="skip"),
            BadInput,
            "overlap 'queue' or misfire 'once'",
        ),
        (
            lambda s: s.schedule_job("x", "@daily", ("tick", {"number": 1}), max_lateness_seconds=-1),
            BadInput,
            "a number of seconds from 0",
        ),
        (lambda s: s.start_job("every-minut"), UnknownSchedule, "did you mean 'every-minute'"),
        (lambda s: s.stop_job("nobody"), UnknownSchedule, "every-minute"),
        (lambda s: s.run_job("nobody"), UnknownSchedule, "unknown schedule"),
    ],
)
def test_a_refusal_names_the_reason_and_changes_nothing(
    declared: Schedules, call: Callable[[Schedules], object], error: type[Exception], message: str
) -> None:
    changes = declared.book.changes()
    with pytest.raises(error, match=message):
        call(declared)
    assert declared.book.changes() == changes
    assert [each.schedule.name for each in declared.all()] == ["every-minute"]


def test_the_originals_service_on_the_process_application(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_queues, "_default", queues)
    service.schedule_job("mine", CRON_EXPRESSIONS["EVERY_HOUR"], ("tick", {"number": 1}), description="what it does")
    status = service.get_job_status("mine")
    assert (status["exists"], status["running"], status["lastRun"]) == (True, True, None)
    assert status["nextRun"] == "2026-11-29T09:00:00+00:00"
    assert not service.stop_job("mine").schedule.enabled
    assert service.get_job_status("mine")["nextRun"] is None
    service.start_job("mine")
    added = service.run_job("mine")
    summary = service.get_scheduler_summary()
    assert (summary["total"], summary["running"], summary["stopped"]) == (1, 1, 0)
    assert summary["jobs"][0]["lastJobId"] == added.id
    service.remove_job("mine")
    assert service.get_job_status("mine")["exists"] is False
