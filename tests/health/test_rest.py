"""Schedulers, releases, database and disk; and the report as the admin serves it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from admin import create_app
from nomad_actors.app import QueueAccess
from nomad_actors.app import create_app as application
from nomad_actors.clock import SystemClock
from nomad_actors.health import Installation, examine
from nomad_actors.health.schedule_checks import CLOCK_FIX, release_of
from nomad_actors.jobs import SCHEDULES
from nomad_actors.scheduler import Schedules
from nomad_actors.store.database import Database

from .conftest import found_in, report_of


def hear(access: QueueAccess, name: str = "host:1", *, seconds_ago: float = 0, **told: Any) -> None:
    book = access.queues.schedule_book()
    book.beat(name, book.redis_ms() - seconds_ago * 1000, forget_before_ms=0, **told)


def test_schedulers_live_or_are_silent(access: QueueAccess) -> None:
    none = found_in(access)["schedulers"]
    assert (none.severity, none.remedy) == ("problem", "nomad run scheduler")
    hear(access, seconds_ago=300)
    assert "the last was heard of 300 s ago" in found_in(access)["schedulers"].cause
    hear(access)
    assert (found_in(access)["schedulers"].severity, found_in(access)["schedulers"].cause) == ("ok", "1 live: host:1")


def test_a_scheduler_tells_of_its_own_clock_and_why_it_adds_nothing(access: QueueAccess) -> None:
    hear(access, "late:1", offset_seconds=-30.2, suspended_reason="this host's clock and Redis' differ by -30.2 s")
    alone = found_in(access)["schedulers"]
    assert (alone.severity, alone.remedy) == ("problem", CLOCK_FIX)
    assert alone.cause == (
        "1 live: late:1, its clock 30.2 s behind Redis'; "
        "late:1 holds (this host's clock and Redis' differ by -30.2 s): nothing that is due is added"
    )
    hear(access, "right:2", offset_seconds=0.01)
    beside = found_in(access)["schedulers"]
    assert (beside.severity, "late:1 holds" in beside.cause) == ("warning", True)
    assert "nothing that is due is added" not in beside.cause
    hear(access, "late:1", offset_seconds=1.5)
    off = found_in(access)["schedulers"]
    assert (off.severity, "late:1, its clock 1.5 s ahead of Redis'" in off.cause) == ("warning", True)


class Later(SystemClock):
    def now_ms(self) -> int:
        return super().now_ms() + 4_000_000


def test_a_schedule_that_is_overdue(access: QueueAccess) -> None:
    schedules = Schedules(access.queues, access.clock)
    schedules.declare(SCHEDULES)
    assert found_in(access)["schedules"].severity == "ok"
    schedules.schedule_job("often", "* * * * *", ("order", {"item": "venture"}))
    found = found_in(access, clock=Later())["schedule often"]
    assert (found.severity, found.remedy) == ("problem", "nomad run scheduler")
    assert found.cause.startswith("overdue: no scheduler has added the slot of 20")


def test_a_job_of_a_schedule_that_has_not_started_is_overdue_unless_its_queue_is_paused(access: QueueAccess) -> None:
    Schedules(access.queues, access.clock).schedule_job("yearly", "@yearly", ("order", {"item": "venture"}))
    added = Schedules(access.queues, access.clock).run_job("yearly")
    found = found_in(access, clock=Later())["schedule yearly"]
    assert (found.severity, found.remedy) == ("problem", f"nomad job {added.id}")
    assert "has not started" in found.cause
    access.queues.get_queue("shop").pause()
    assert "schedule yearly" not in found_in(access, clock=Later())


def test_schedules_of_the_code_that_redis_does_not_know(access: QueueAccess) -> None:
    empty = found_in(access)["schedules"]
    assert all(each.name in empty.cause for each in SCHEDULES)
    assert (empty.severity, "unknown to Redis, which came back empty" in empty.cause) == ("problem", True)
    Schedules(access.queues, access.clock).declare(SCHEDULES)
    assert found_in(access)["schedules"].severity == "ok"


@pytest.mark.parametrize(
    ("names", "status"), [(["a:1"], "unknown"), (["a:1@0.1.0"], "ok"), (["a:1@0.1.0", "b:2@0.0.9"], "warning")]
)
def test_releases_are_compared_where_names_tell_them(access: QueueAccess, names: list[str], status: str) -> None:
    for name in names:
        hear(access, name)
    assert found_in(access)["releases"].severity == status
    assert release_of("host:12@1.2.3") == "1.2.3"
    assert release_of("host:12") is None


def test_the_database_is_looked_at_but_never_made_or_migrated(access: QueueAccess, tmp_path: Path) -> None:
    assert found_in(access)["database"].severity == "warning"
    assert not (tmp_path / "nomad.db").exists()
    database = Database(access.settings.database_url)
    database.migrate()
    assert found_in(access)["database"].severity == "ok"
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    newer = found_in(access)["database"]
    assert (newer.severity, "a newer release made" in newer.cause) == ("problem", True)
    with database.write() as connection:
        connection.execute(sa.text("DELETE FROM alembic_version"))
    older = found_in(access)["database"]
    assert (older.severity, older.remedy) == ("warning", "restart the workers: they migrate it")
    database.close()


def test_a_database_file_that_is_missing_while_workers_live(
    access: QueueAccess, working: Callable[[], AbstractContextManager[None]]
) -> None:
    with working():
        found = found_in(access)["database"]
    assert (found.severity, "though workers live" in found.cause) == ("warning", True)
    assert found.remedy.startswith("put the file back")


def test_rows_that_do_not_fit_are_named_to_whoever_asks_once(access: QueueAccess) -> None:
    database = Database(access.settings.database_url)
    with database.write() as connection:
        connection.execute(sa.text("INSERT INTO admin_revoked_tokens VALUES ('d', 'ada', 1, 'otto')"))
        connection.execute(
            sa.text("INSERT INTO admin_sessions VALUES ('h', 'ada', 'd', 'operator', NULL, 1, 1, 'never', NULL)")
        )
    polled = Installation(access.settings, access.clock, access.broker, access.queues, database=database)
    assert "database rows" not in {finding.name for finding in examine(polled).findings}
    found = found_in(access)["database rows"]
    database.close()
    assert (found.severity, "admin_sessions (id_hash h)" in found.cause) == ("warning", True)


def test_a_database_that_is_none(access: QueueAccess, tmp_path: Path) -> None:
    (tmp_path / "nomad.db").write_bytes(b"this is no database" * 100)
    found = found_in(access)["database"]
    assert found.severity == "problem", found


def test_disks_with_and_without_room(access: QueueAccess, tmp_path: Path) -> None:
    assert found_in(access)["disk"].severity == "ok"
    # That of the database is looked at where it lies elsewhere; a small one is told in a unit that tells of it.
    memory = Path("/dev/shm")
    if memory.stat().st_dev != tmp_path.stat().st_dev:
        elsewhere = dataclasses.replace(
            access, settings=dataclasses.replace(access.settings, database_url=f"sqlite:///{memory}/x.db")
        )
        found = [each for each in report_of(elsewhere).findings if each.name == "disk"]
        assert [each.cause.partition(" free at ")[2].partition(" ")[2] for each in found] == ["(var_dir)", "(database)"]
    petabyte = 1 << 50
    assert found_in(access, disk_warning_bytes=petabyte)["disk"].severity == "warning"
    full = found_in(access, disk_warning_bytes=petabyte, disk_problem_bytes=petabyte)["disk"]
    assert (full.severity, "du -xh" in full.remedy) == ("problem", True)


def test_the_admin_serves_the_report(access: QueueAccess) -> None:
    app = application(access.settings)
    ask = create_app(app).test_client()
    answer = ask.get("/admin/doctor")
    body = answer.get_json()
    assert (answer.status_code, body["healthy"], body["status"]) == (503, False, "problem")
    assert {"name", "status", "found", "fix"} == set(body["checks"][0])
    assert ask.get("/admin/doctor?verbose=1").status_code == 422
    app.close()
