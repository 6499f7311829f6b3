"""The scheduler process: one job per slot with any number of schedulers; missed slots are recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import redis

from nomad_actors.broker.records.limits import Limits
from nomad_actors.clock import ManualClock, SystemClock
from nomad_actors.metrics.definitions import SCHEDULER
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.queues import Queues
from nomad_actors.scheduler import JobSchedule, Schedules, SlotScheduler
from nomad_actors.scheduler.status import get_job_status, get_scheduler_summary
from nomad_actors.testing import running
from tests.scheduler.conftest import FAILS, a_schedule


def waiting(queues: Queues, queue: str = "ticks") -> int:
    return queues.get_queue(queue).counts()["waiting"]


def scheduler(schedules: Schedules, clock: ManualClock, *declared: JobSchedule) -> SlotScheduler:
    made = SlotScheduler(schedules, declared or [a_schedule()], clock)
    made.schedule()
    return made


def outcomes(queues: Queues, clock: ManualClock, name: str = "every-minute") -> list[str]:
    """Return the slots' outcomes, oldest first."""
    return [slot["outcome"] for slot in reversed(get_job_status(queues, name)["slots"])]


def test_each_due_slot_gets_one_job_from_any_number_of_schedulers(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    several = [scheduler(schedules, clock) for _ in range(3)]
    for _ in range(5):
        clock.advance(seconds=60)
        for each in several:
            each.schedule()
    assert waiting(queues) == 5


def test_a_slot_whose_job_has_ended_is_not_fired_again(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    first, second = scheduler(schedules, clock), scheduler(schedules, clock)
    clock.advance(seconds=60)
    first.schedule()
    with running(queues.broker):
        queues.broker.join("ticks", timeout=5000)
        second.schedule()
        scheduler(schedules, clock)
        queues.broker.join("ticks", timeout=5000)
    assert queues.get_queue("ticks").snapshot().stats(3600).completed == 1
    assert outcomes(queues, clock) == ["completed"]


def test_slots_that_came_due_while_redis_was_down_are_handled_when_it_is_back(
    own_redis: LocalRedis, make_queues: Callable[..., Queues], clock: ManualClock
) -> None:
    queues = make_queues(own_redis.url)
    each = scheduler(Schedules(queues), clock)
    own_redis.kill()
    clock.advance(seconds=20)
    each.schedule()
    own_redis.start()
    each.schedule()
    assert waiting(queues) == 1


def test_a_refused_job_is_recorded_and_does_not_stop_other_schedules(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    broken = a_schedule(name="broken", data={"nonsense": 1})
    each = scheduler(schedules, clock, broken, a_schedule())
    clock.advance(seconds=60)
    each.schedule()
    assert waiting(queues) == 1
    (slot,) = get_job_status(queues, "broken")["slots"]
    assert slot["outcome"] == "missed"
    assert "its job is refused" in slot["missed"]
    assert "nonsense" in slot["missed"]


def test_the_loop_wakes_for_the_slot_and_stops_when_asked(
    queues: Queues, schedules: Schedules, clock: ManualClock, wait_until: Callable[..., None]
) -> None:
    each = SlotScheduler(schedules, [a_schedule()], clock)
    thread = threading.Thread(target=each.run)
    thread.start()
    wait_until(lambda: schedules.find("every-minute"))
    clock.advance(seconds=11)
    wait_until(lambda: waiting(queues) == 1, timeout_seconds=3)
    assert schedules.book.schedulers()
    each.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert not schedules.book.schedulers()


@pytest.mark.parametrize(
    ("policy", "jobs", "missed"),
    [
        ({"misfire": "skip"}, 1, 10),
        ({"misfire": "once"}, 1, 10),
        ({"misfire": "all"}, 11, 0),
        ({"misfire": "all", "max_lateness_seconds": 300}, 5, 6),
    ],
)
def test_the_misfire_policy_decides_about_slots_that_came_due_while_no_scheduler_ran(
    queues: Queues,
    schedules: Schedules,
    clock: ManualClock,
    policy: dict[str, object],
    jobs: int,
    missed: int,
) -> None:
    scheduler(schedules, clock, a_schedule(**policy))
    clock.advance(seconds=11 * 60)
    scheduler(schedules, clock, a_schedule(**policy))
    shown = get_job_status(queues, "every-minute")
    assert (waiting(queues), shown["missed"]) == (jobs, missed)
    assert len(shown["slots"]) == 11
    for slot in shown["slots"]:
        assert (slot["missed"] is None) == (slot["outcome"] == "waiting")


def test_the_last_slot_runs_once_when_all_are_late(queues: Queues, schedules: Schedules, clock: ManualClock) -> None:
    hourly = a_schedule(expression="0 * * * *", misfire="once")
    scheduler(schedules, clock, hourly)
    clock.advance(seconds=5 * 3600 + 1800)
    scheduler(schedules, clock, hourly)
    slots = get_job_status(queues, "every-minute")["slots"]
    assert [slot["outcome"] for slot in slots] == ["waiting", "missed", "missed", "missed", "missed", "missed"]
    assert slots[0]["latenessMs"] == 1790_000
    assert slots[1]["missed"].endswith("late; a later slot runs instead")


def test_all_is_capped_and_the_rest_is_counted(queues: Queues, schedules: Schedules, clock: ManualClock) -> None:
    every = a_schedule(misfire="all", max_lateness_seconds=None)
    scheduler(schedules, clock, every)
    clock.advance(seconds=86_400)
    scheduler(schedules, clock, every)
    shown = get_job_status(queues, "every-minute")
    # One slot is in time; a hundred late ones run.
    assert waiting(queues) == 101
    assert shown["missed"] == 1440 - 101
    # Slots whose jobs have not ended are kept beyond the fifty.
    assert len(shown["slots"]) == 101


def test_a_slot_is_missed_while_the_previous_job_has_not_ended(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    each = scheduler(schedules, clock, a_schedule(overlap="skip"))
    for _ in range(3):
        clock.advance(seconds=60)
        each.schedule()
    assert waiting(queues) == 1
    slots = get_job_status(queues, "every-minute")["slots"]
    assert [slot["missed"] for slot in slots] == ["the previous run is still waiting"] * 2 + [None]


def test_the_slot_of_a_job_that_has_not_ended_is_kept(queues: Queues, schedules: Schedules, clock: ManualClock) -> None:
    each = scheduler(schedules, clock, a_schedule(overlap="skip"))
    for _ in range(90):
        clock.advance(seconds=60)
        each.schedule()
    shown = get_job_status(queues, "every-minute")
    assert shown["missed"] == 89
    assert shown["slots"][-1]["outcome"] == "waiting"
    assert "has not started" in shown["overdue"]


def test_a_job_may_replace_a_waiting_one(queues: Queues, schedules: Schedules, clock: ManualClock) -> None:
    each = scheduler(schedules, clock, a_schedule(overlap="replace"))
    for _ in range(3):
        clock.advance(seconds=60)
        each.schedule()
    assert waiting(queues) == 1
    assert outcomes(queues, clock) == ["replaced", "replaced", "waiting"]


@pytest.mark.parametrize(("overlap", "slots"), [("queue", ["waiting", "missed"]), ("replace", ["replaced", "waiting"])])
def test_a_full_queue_takes_a_schedules_job_only_as_a_replacement(
    queues: Queues, schedules: Schedules, clock: ManualClock, overlap: str, slots: list[str]
) -> None:
    each = scheduler(schedules, clock, a_schedule(overlap=overlap))
    queues.get_queue("ticks").set_limits(Limits(max_length=1))
    for _ in range(2):
        clock.advance(seconds=60)
        each.schedule()
    assert (waiting(queues), outcomes(queues, clock)) == (1, slots)
    if overlap == "queue":
        last = get_job_status(queues, "every-minute")["slots"][0]
        assert last["missed"] == "the queue is full: at most 1 may wait"


def test_a_schedule_with_run_on_init_runs_once_for_each_of_its_versions(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    first = a_schedule(run_on_init=True)
    for _ in range(3):
        scheduler(schedules, clock, first)
    assert waiting(queues) == 1
    clock.advance(seconds=1)
    changed = a_schedule(run_on_init=True, data={"number": 2})
    for _ in range(3):
        scheduler(schedules, clock, changed)
    assert waiting(queues) == 2


def test_a_stop_applies_at_once_and_slots_meanwhile_are_not_missed(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    each = scheduler(schedules, clock)
    schedules.stop_job("every-minute")
    # This scheduler has not reloaded since: Redis refuses its claim.
    each._loaded_mono = float("inf")
    each._changes = schedules.book.changes()
    clock.advance(seconds=600)
    each.schedule()
    assert waiting(queues) == 0
    schedules.start_job("every-minute")
    each.schedule()
    assert waiting(queues) == 0
    clock.advance(seconds=60)
    each.schedule()
    assert waiting(queues) == 1
    assert get_job_status(queues, "every-minute")["missed"] == 0


def test_a_scheduler_that_was_frozen_during_a_change_adds_nothing_of_the_old_version(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    frozen = scheduler(schedules, clock)
    stale = frozen._states["every-minute"]
    schedules.schedule_job("every-minute", "0 3 * * *", ("tick", {"number": 2}))
    clock.advance(seconds=120)
    from nomad_actors.scheduler.due import due_slots

    claimed = schedules.claim(stale, due_slots(stale.schedule, stale.stored.watermark_ms, clock.now_ms()))
    assert claimed.word == "changed"
    assert waiting(queues) == 0


def test_a_late_scheduler_claims_nothing_before_the_watermark(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    from nomad_actors.scheduler.due import due_slots

    each, late = scheduler(schedules, clock), scheduler(schedules, clock)
    stale = late._states["every-minute"]
    clock.advance(seconds=60)
    due = due_slots(stale.schedule, stale.stored.watermark_ms, clock.now_ms())
    each.schedule()
    clock.advance(seconds=60)
    each.schedule()
    assert set(schedules.claim(stale, due).slots.values()) == {"claimed"}
    assert waiting(queues) == 2


def test_a_slot_that_is_not_due_by_redis_clock_is_refused(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    from nomad_actors.scheduler.due import Due

    scheduler(schedules, clock)
    ahead = Due([(clock.now_ms() + 70_000, "")])
    assert schedules.claim(schedules.get("every-minute"), ahead).word == "early"
    assert waiting(queues) == 0


def test_the_end_of_a_job_ends_its_slot(
    queues: Queues, schedules: Schedules, clock: ManualClock, redis_client: redis.Redis
) -> None:
    each = scheduler(schedules, clock)
    for _ in range(3):
        clock.advance(seconds=60)
        each.schedule()
    queue = queues.get_queue("ticks")
    first, second, _ = queue.jobs("waiting")
    queue.cancel(first.id, "not needed")
    queue.remove(second.id)
    with running(queues.broker):
        queues.broker.join("ticks", timeout=5000)
    assert outcomes(queues, clock) == ["cancelled", "removed", "completed"]
    last = get_job_status(queues, "every-minute")["slots"][0]
    assert last["started"] is not None
    assert last["ended"] is not None


def test_a_retry_and_a_late_start_of_a_scheduled_job_need_nothing_special(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    each = scheduler(schedules, clock)
    queue = queues.get_queue("ticks")
    queue.pause()
    clock.advance(seconds=60)
    each.schedule()
    clock.advance(seconds=3600)
    queue.resume()
    with running(queues.broker):
        queues.broker.join("ticks", timeout=5000)
    (job,) = queue.jobs("completed")
    queue.retry(job.id)
    with running(queues.broker):
        queues.broker.join("ticks", timeout=5000)
    assert queue.snapshot().stats(3600).completed == 2


def test_the_last_status_is_the_jobs_current_state(queues: Queues, schedules: Schedules, clock: ManualClock) -> None:
    def status() -> tuple[object, object]:
        shown = get_job_status(queues, "every-minute")
        return shown["lastStatus"], shown["lastOutcome"]

    queue = queues.get_queue("ticks")
    each = scheduler(schedules, clock, a_schedule(data={"number": FAILS}))
    clock.advance(seconds=60)
    each.schedule()
    with running(queues.broker):
        queues.broker.join("ticks", timeout=5000)
    assert status() == ("failed", "failed")
    (job,) = queue.jobs("failed")
    queue.retry(job.id)
    assert status() == ("waiting", "failed")
    with running(queues.broker):
        queues.broker.join("ticks", timeout=5000)
    assert status() == ("failed", "failed")
    queue.remove(job.id)
    assert status() == ("gone", "failed")


def test_a_job_that_waits_in_a_paused_queue_is_not_overdue(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    each = scheduler(schedules, clock, a_schedule(overlap="skip"))
    queues.get_queue("ticks").pause()
    for _ in range(90):
        clock.advance(seconds=60)
        each.schedule()
    assert get_job_status(queues, "every-minute")["overdue"] is None
    queues.get_queue("ticks").resume()
    overdue = get_job_status(queues, "every-minute")["overdue"]
    assert "has not started: nomad job schedule:every-minute:" in overdue


def test_schedules_are_declared_again_when_redis_came_back_empty(
    queues: Queues, schedules: Schedules, clock: ManualClock, redis_client: redis.Redis
) -> None:
    each = scheduler(schedules, clock, a_schedule(), a_schedule(name="other"))
    redis_client.flushall()
    assert schedules.all() == []
    each.schedule()
    assert [state.schedule.name for state in schedules.all()] == ["every-minute", "other"]
    assert schedules.book.schedulers(), "it sends a heartbeat at once"
    clock.advance(seconds=60)
    each.schedule()
    assert waiting(queues) == 2


def test_a_schedule_that_a_newer_release_removed_stays_removed(
    queues: Queues, schedules: Schedules, clock: ManualClock
) -> None:
    old = scheduler(schedules, clock, a_schedule(), a_schedule(name="other"))
    scheduler(schedules, clock, a_schedule())
    old.schedule()
    assert [state.schedule.name for state in schedules.all()] == ["every-minute"]


def test_the_heartbeat_metric_stops_while_redis_is_down(
    own_redis: LocalRedis, make_queues: Callable[..., Queues], clock: ManualClock
) -> None:
    each = scheduler(Schedules(make_queues(own_redis.url)), clock)
    looked = heartbeat()
    assert looked
    own_redis.kill()
    each.schedule()
    assert heartbeat() == looked
    own_redis.start()
    each.schedule()
    assert (heartbeat() or 0) > looked


def heartbeat() -> float | None:
    return SCHEDULER.get_sample_value("nomad_scheduler_heartbeat_timestamp_seconds")


class Off(SystemClock):
    """A host's wrong clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now_ms(self) -> int:
        return super().now_ms() + int(self.seconds * 1000)


@pytest.mark.parametrize("seconds", [-90.0, 30.0])
def test_a_scheduler_with_a_wrong_clock_reports_it(queues: Queues, seconds: float) -> None:
    wrong = Off(seconds)
    queues.clock = wrong
    each = SlotScheduler(Schedules(queues), [a_schedule()], wrong)
    queues.clock = SystemClock()
    each.schedule()
    # The reader's clock is right: the scheduler is live, whatever its own clock shows.
    (scheduler,) = get_scheduler_summary(queues)["schedulers"]
    assert (scheduler["name"], scheduler["live"]) == (each.name, True)
    assert scheduler["clockOffsetSeconds"] == pytest.approx(seconds, abs=2)
    assert "this host's clock and Redis' differ by" in scheduler["holds"]
    since = scheduler["holdsSince"]
    wrong.seconds = 0.0
    each.schedule()
    (scheduler,) = get_scheduler_summary(queues)["schedulers"]
    assert (scheduler["holds"], scheduler["holdsSince"]) == (None, None)
    assert since is not None
