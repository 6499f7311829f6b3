"""A scrape of the admin exports the state of queues, schedules, Redis and the database."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from nomad_actors import JobType, Payload, Result
from nomad_actors.app import App, create_app
from nomad_actors.broker.client.slots import Slot, StoredSchedule
from nomad_actors.broker.endings import Outcome
from nomad_actors.broker.keys import base
from nomad_actors.clock import ManualClock
from nomad_actors.errors import WrongState
from nomad_actors.esi import EsiResponse
from nomad_actors.health import scrape
from nomad_actors.jobs import SCHEDULES
from nomad_actors.metrics.exposition import render
from nomad_actors.queues import NewJob
from nomad_actors.queues.overruns import read_overruns
from nomad_actors.queues.policy import Priority
from nomad_actors.scheduler import JobSchedule
from nomad_actors.scheduler.book import Schedules
from nomad_actors.scheduler.changes import ScheduleState
from nomad_actors.settings import Settings
from nomad_actors.store import Store, TokenCipher
from nomad_actors.testing import LocalRedis, running
from tests.support.databases import put_database
from tests.support.slow_line import SlowLine

QUEUES = {"cache-cleanup", "esi-refresh", "historical-data", "token-refresh"}
gate = threading.Event()


class Nothing(Payload):
    pass


class Done(Result):
    pass


def hold(_: Nothing) -> Done:
    gate.wait(20)
    return Done()


HOLD = JobType(
    name="hold", queue="token-refresh", payload=Nothing, result=Done, run=hold, concurrency=2, time_limit_ms=1_000
)


@contextmanager
def app_on(redis_url: str, directory: Path) -> Iterator[App]:
    settings = Settings(redis_url=redis_url, database_url=put_database(directory / "nomad.db"), var_dir=directory)
    app = create_app(settings, caller_deadline_ms=1_000)
    app.store.migrate()
    app.queues.register(HOLD)
    yield app
    app.close()


@pytest.fixture
def app(own_redis: LocalRedis, tmp_path: Path) -> Iterator[App]:
    with app_on(own_redis.url, tmp_path) as app:
        yield app


@pytest.fixture
def value(app: App) -> Callable[..., float | None]:
    return lambda name, **labels: app.registry.get_sample_value(name, labels)


def test_every_combination_exists_before_the_first_job(app: App, value: Callable[..., float | None]) -> None:
    for queue in QUEUES:
        for priority in Priority:
            assert value("nomad_queue_oldest_waiting_seconds", queue=queue, priority=priority.name) == 0
        for state in ("waiting", "active", "delayed", "completed", "failed", "paused"):
            assert value("nomad_queue_jobs", queue=queue, state=state) == 0
        for name in (
            "longest_active_seconds",
            "overtime_seconds",
            "paused",
            "workers",
            "recovered_total",
            "poison_total",
            "clock_offset_seconds",
        ):
            assert value(f"nomad_queue_{name}", queue=queue) == 0, name
        actors = [job_type.name for job_type in app.queues.job_types.values() if job_type.queue == queue]
        for actor in (*actors, "unknown"):
            for outcome in Outcome:
                labels = {"queue": queue, "actor": actor, "outcome": outcome.value}
                assert value("nomad_job_attempts_total", **labels) == 0, labels
    assert (value("nomad_schedulers", state="live"), value("nomad_schedulers", state="silent")) == (0, 0)
    assert (value("nomad_characters", status="active"), value("nomad_characters", status="needs_login")) == (0, 0)
    assert value("nomad_redis_persistence_ok") == 1
    assert (value("nomad_redis_memory_bytes") or 0) > 100_000
    assert value("nomad_redis_memory_limit_bytes") == 0


def test_waiting_and_paused_jobs_by_priority(app: App, value: Callable[..., float | None]) -> None:
    app.queues.add_job("token-refresh", "hold", {}, priority=Priority.CRITICAL)
    queue = app.queues.get_queue("token-refresh")
    assert value("nomad_queue_jobs", queue="token-refresh", state="waiting") == 1
    before = time.time()
    queue.pause(reason="a test")
    queue.pause(reason="again")
    assert value("nomad_queue_jobs", queue="token-refresh", state="paused") == 1
    assert value("nomad_queue_paused", queue="token-refresh") == 1
    since = value("nomad_queue_paused_since_timestamp_seconds", queue="token-refresh")
    assert since == pytest.approx(before, abs=5)
    assert (value("nomad_queue_oldest_waiting_seconds", queue="token-refresh", priority="CRITICAL") or 0) > 0
    assert value("nomad_queue_oldest_waiting_seconds", queue="token-refresh", priority="LOW") == 0
    queue.resume()
    assert value("nomad_queue_paused_since_timestamp_seconds", queue="token-refresh") is None


def test_of_two_pauses_the_first_counts(app: App, value: Callable[..., float | None]) -> None:
    queue = app.queues.get_queue("token-refresh")
    queue.pause(reason="a test")
    since = value("nomad_queue_paused_since_timestamp_seconds", queue="token-refresh")
    app.queues.pause_esi(reason="downtime")
    assert len({pause.since_ms for pause in queue.snapshot().pauses}) == 2
    assert value("nomad_queue_paused_since_timestamp_seconds", queue="token-refresh") == since
    queue.resume()
    assert (value("nomad_queue_paused_since_timestamp_seconds", queue="token-refresh") or 0) > (since or 0)


def test_the_age_of_data_is_in_seconds(tmp_path: Path) -> None:
    clock = ManualClock(1_793_491_200_000)
    store = Store(put_database(tmp_path / "nomad.db"), cipher=TokenCipher(["a key for tests"]), clock=clock)
    login = {
        "user_id": 7,
        "name": "Ada Voss",
        "owner_hash": "owner",
        "scopes": [],
        "refresh_token": "refresh-token-of-ada",
    }
    store.logins.save(character_id=90000001, **login)
    got = EsiResponse(200, False, 1.0, None, None, 0, 1, None)
    wallet = "/characters/{character_id}/wallet"
    store.documents.save(90000001, wallet, got, as_of_ms=clock.now_ms(), next_due_ms=0)
    clock.advance(seconds=90)
    characters, ages = scrape.database_families(
        store.logins.counts(), store.documents.oldest_synced_ms(), clock.now_ms()
    )
    assert [(sample.labels, sample.value) for sample in ages.samples] == [({"dataset": "wallet"}, 90.0)]
    assert {sample.labels["status"]: sample.value for sample in characters.samples}["active"] == 1
    store.close()


def test_by_how_much_a_job_exceeds_its_time_limit(
    app: App, value: Callable[..., float | None], wait_until: Callable[..., None]
) -> None:
    gate.clear()
    app.queues.add_job("token-refresh", "hold", {})
    with running(app.broker, queues={"token-refresh"}):
        try:
            wait_until(lambda: (value("nomad_queue_overtime_seconds", queue="token-refresh") or 0) > 0.2)
            longest = value("nomad_queue_longest_active_seconds", queue="token-refresh") or 0
            assert longest > 1.2
            assert value("nomad_queue_overtime_seconds", queue="token-refresh") == pytest.approx(longest - 1, abs=0.5)
            assert value("nomad_queue_workers", queue="token-refresh") == 1
            assert value("nomad_queue_workers", queue="esi-refresh") == 0
        finally:
            gate.set()


def test_a_job_of_a_lost_worker_is_not_beyond_its_time_limit(app: App, wait_until: Callable[..., None]) -> None:
    """The job is not running: another worker takes it back, and a cancellation has no effect."""
    gate.clear()
    queue = app.queues.get_queue("token-refresh")
    app.queues.add_job("token-refresh", "hold", {})

    def lose_its_worker() -> bool:
        # The worker counts as silent until its next heartbeat.
        app.broker.client.delete(f"{base(app.broker.namespace, queue.name)}:workers")
        return not queue.snapshot().workers

    with running(app.broker, queues={queue.name}):
        try:
            wait_until(lambda: read_overruns(app.queues, [queue.snapshot()]).get(queue.name))
            wait_until(lambda: lose_its_worker() and not read_overruns(app.queues, [queue.snapshot()])[queue.name])
            assert queue.counts()["active"] == 1
        finally:
            gate.set()


def test_schedules_and_schedulers_are_exported(app: App, value: Callable[..., float | None]) -> None:
    schedules = Schedules(app.queues)
    schedules.declare(SCHEDULES)
    now_ms = app.clock.now_ms()
    schedules.book.beat("host:1", now_ms, forget_before_ms=0)
    schedules.book.beat("host:2", now_ms - 600_000, forget_before_ms=0)
    assert (value("nomad_schedulers", state="live"), value("nomad_schedulers", state="silent")) == (1, 1)
    for schedule in SCHEDULES:
        assert value("nomad_schedule_enabled", schedule=schedule.name) == 1
    due = "nomad_schedule_start_due_timestamp_seconds"
    assert value(due, schedule="cache-cleanup")
    # Also while its job is waiting and no worker took it in time.
    schedules.run_job("cache-cleanup")
    schedules.stop_job("cache-cleanup")
    assert value("nomad_schedule_enabled", schedule="cache-cleanup") == 0
    assert value(due, schedule="cache-cleanup") is None


DAY_MS = 86_400_000
#: Midnight, when a schedule of every day is due.
MIDNIGHT_MS = 1_793_491_200_000


def _success_due_days(
    *ran: int, succeeded: float | None = None, on_since: float = 0, enabled: bool = True, kind: str | None = None
) -> float | None:
    """Return by which day a daily schedule must succeed, after runs of the given days that ended."""
    schedule = JobSchedule(
        name="daily",
        description="",
        expression="0 0 * * *",
        queue="cache-cleanup",
        job_type="clean-caches",
        data={},
        enabled=enabled,
    )
    watermark_ms = MIDNIGHT_MS + max([on_since, *ran]) * DAY_MS
    stored = StoredSchedule("cache-cleanup", "daily", 1, enabled, watermark_ms, None, {})
    slots = [
        Slot(MIDNIGHT_MS + day * DAY_MS, kind, None, None, None, outcome="failed", missed=None, by=None)
        for day in reversed(ran)
    ]
    last_ms = None if succeeded is None else int(MIDNIGHT_MS + succeeded * DAY_MS)
    due_ms = scrape.success_due_ms(ScheduleState(schedule, stored, declared=False, overridden=()), slots, last_ms)
    return None if due_ms is None else (due_ms - MIDNIGHT_MS) / DAY_MS


def test_a_schedule_must_have_succeeded_by_its_second_run() -> None:
    assert _success_due_days(1, succeeded=1.01) == 3
    assert _success_due_days(1, 2, succeeded=1.01) == 3
    assert _success_due_days(1, 2, 3, succeeded=1.01) == 3
    assert _success_due_days(1, 2, 3, succeeded=3.01) == 5


def test_a_schedule_that_never_succeeded_has_its_first_two_runs() -> None:
    assert _success_due_days(on_since=0.5) == 2
    assert _success_due_days(1, on_since=0.5) == 2
    assert _success_due_days(1, 2, 3, on_since=0.5) == 2


def test_slots_while_a_schedule_was_off_do_not_count() -> None:
    assert _success_due_days(1, succeeded=1.01, on_since=6.5) == 8
    assert _success_due_days(1, 2, succeeded=1.01, on_since=6.5) == 7
    assert _success_due_days(1, 2, 3, succeeded=1.01, enabled=False) is None


def test_manual_runs_do_not_count() -> None:
    assert _success_due_days(2, 3, succeeded=1.01, kind="manual") == 5


def test_a_schedules_calendar_decides_when_it_must_succeed(app: App, value: Callable[..., float | None]) -> None:
    schedules = Schedules(app.queues)
    before = time.time()
    schedules.schedule_job("mine", "*/5 * * * *", ("hold", {}))
    due = value("nomad_schedule_success_due_timestamp_seconds", schedule="mine") or 0
    assert (due % 300, before + 300 < due <= before + 610) == (0, True)
    schedules.stop_job("mine")
    assert value("nomad_schedule_success_due_timestamp_seconds", schedule="mine") is None


def test_missed_slots_of_a_schedule_are_counted(app: App, value: Callable[..., float | None]) -> None:
    schedules = Schedules(app.queues)
    schedules.declare(SCHEDULES)
    schedules.run_job("cache-cleanup", by="test")
    assert value("nomad_schedule_missed_total", schedule="cache-cleanup") == 0
    with pytest.raises(WrongState, match="still waiting"):
        schedules.run_job("cache-cleanup", by="test")
    assert value("nomad_schedule_missed_total", schedule="cache-cleanup") == 1
    assert value("nomad_schedule_missed_total", schedule="token-refresh") == 0


def test_a_source_that_cannot_be_read_does_not_hide_the_other(
    app: App, own_redis: LocalRedis, value: Callable[..., float | None]
) -> None:
    app.queues.add_job("token-refresh", "hold", {})
    own_redis.kill()
    began = time.monotonic()
    body = render(app.registry, "")[0].decode()
    assert time.monotonic() - began < 5
    assert 'nomad_collector_success{source="redis"} 0.0' in body
    assert 'nomad_collector_success{source="database"} 1.0' in body
    assert "nomad_queue_jobs{" not in body
    assert "nomad_jobs_enqueued_total{" in body
    own_redis.start()
    assert value("nomad_collector_success", source="redis") == 1
    assert value("nomad_queue_jobs", queue="token-refresh", state="waiting") == 1


def test_a_scrape_costs_the_same_with_many_jobs(app: App, own_redis: LocalRedis) -> None:
    """Counted in commands, including those in scripts, not in time."""
    few = _commands_of_a_scrape(app, own_redis)
    app.queues.add_jobs([NewJob(queue="token-refresh", job_type="hold", data={}) for _ in range(5_000)])
    assert _commands_of_a_scrape(app, own_redis) <= few + 10


@pytest.fixture
def line(own_redis: LocalRedis) -> Iterator[SlowLine]:
    with SlowLine(own_redis.port) as line:
        yield line


def test_a_scrape_reads_all_queues_at_once(line: SlowLine, tmp_path: Path) -> None:
    """Each round trip to a slow Redis takes its time, and Prometheus waits ten seconds for all of them."""
    with app_on(line.url, tmp_path) as app:

        def trips() -> int:
            render(app.registry, "")
            line.trips = 0
            render(app.registry, "")
            return line.trips

        schedules = Schedules(app.queues)
        schedules.declare(SCHEDULES)
        few = trips()
        assert 0 < few <= 9
        for number in range(10):
            app.queues.register(dataclasses.replace(HOLD, name=f"hold-{number}", queue=f"queue-{number}"))
            schedules.schedule_job(f"mine-{number}", "*/5 * * * *", (f"hold-{number}", {}))
        assert trips() == few
        assert app.registry.get_sample_value("nomad_queue_workers", {"queue": "queue-9"}) == 0


def test_a_redis_that_is_too_slow_is_reported_in_time(
    line: SlowLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scrape, "REDIS_SECONDS", 1.0)
    with app_on(line.url, tmp_path) as app:
        Schedules(app.queues).declare(SCHEDULES)
        line.delay_seconds = 0.3
        began = time.monotonic()
        body = render(app.registry, "")[0].decode()
        assert time.monotonic() - began < 3
        assert 'nomad_collector_success{source="redis"} 0.0' in body
        assert 'nomad_collector_success{source="database"} 1.0' in body
        assert "Redis is too slow: 1 s are over" in str([getattr(r, "nomad_fields", "") for r in caplog.records])
        # One command alone has all the time that it had.
        assert app.queues.get_queue("token-refresh").counts()["waiting"] == 0


def _commands_of_a_scrape(app: App, server: LocalRedis) -> int:
    client = redis.Redis.from_url(server.url)
    client.config_resetstat()
    render(app.registry, "")
    return sum(int(each["calls"]) for each in client.info("commandstats").values())


def test_two_admins_export_the_same_totals_and_unknown_job_types_as_unknown(
    app: App, tmp_path: Path, own_redis: LocalRedis
) -> None:
    key = f"{base('nomad', 'token-refresh')}:totals"
    totals = {"failed:token-refresh": 3, "failed:of-another-application": 4}
    redis.Redis.from_url(own_redis.url).hset(key, mapping=totals)  # type: ignore[arg-type]
    (tmp_path / "other").mkdir()
    with app_on(own_redis.url, tmp_path / "other") as other:
        for each in (app, other):
            for name, count in totals.items():
                outcome, actor = name.split(":")
                labels = {"queue": "token-refresh", "actor": actor, "outcome": outcome}
                assert each.registry.get_sample_value("nomad_job_attempts_total", labels) == count
