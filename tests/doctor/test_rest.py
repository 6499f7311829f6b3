"""Schedulers, releases, database and disk; and the report as the admin serves it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from admin import create_app
from nomad_actors.app import QueueAccess
from nomad_actors.clock import SystemClock
from nomad_actors.doctor.schedule_checks import release_of
from nomad_actors.scheduler import Schedules
from nomad_actors.store.database import Database

from .conftest import found_in


def hear(access: QueueAccess, name: str = "host:1", *, seconds_ago: float = 0) -> None:
    book = access.queues.schedule_book()
    book.beat(name, int(access.clock.now_ms() - seconds_ago * 1000), forget_before_ms=0)


def test_schedulers_live_are_silent_or_have_a_wrong_clock(access: QueueAccess) -> None:
    none = found_in(access)["schedulers"]
    assert (none.status, none.fix) == ("problem", "nomad run scheduler")
    hear(access, seconds_ago=300)
    assert "the last was heard of 300 s ago" in found_in(access)["schedulers"].found
    hear(access)
    assert (found_in(access)["schedulers"].status, found_in(access)["schedulers"].found) == ("ok", "1 live: host:1")
    hear(access, "other:2", seconds_ago=-40)
    wrong = found_in(access)["schedulers"]
    assert (wrong.status, "other:2 is 40 s ahead" in wrong.found) == ("problem", True)


def test_a_schedule_that_is_overdue(access: QueueAccess) -> None:
    class Later(SystemClock):
        def now_ms(self) -> int:
            return super().now_ms() + 600_000

    Schedules(access.queues, access.clock).schedule_job("often", "* * * * *", ("order", {"item": "venture"}))
    assert found_in(access)["schedules"].status == "ok"
    found = found_in(access, clock=Later())["schedule often"]
    assert (found.status, found.fix) == ("problem", "nomad schedules run often")


@pytest.mark.parametrize(
    ("names", "status"), [(["a:1"], "unknown"), (["a:1@0.1.0"], "ok"), (["a:1@0.1.0", "b:2@0.0.9"], "warning")]
)
def test_releases_are_compared_where_names_tell_them(access: QueueAccess, names: list[str], status: str) -> None:
    for name in names:
        hear(access, name)
    assert found_in(access)["releases"].status == status
    assert release_of("host:12@1.2.3") == "1.2.3"
    assert release_of("host:12") is None


def test_the_database_is_looked_at_but_never_made_or_migrated(access: QueueAccess, tmp_path: Path) -> None:
    assert found_in(access)["database"].status == "warning"
    assert not (tmp_path / "nomad.db").exists()
    database = Database(access.settings.database_url)
    database.migrate()
    assert found_in(access)["database"].status == "ok"
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    newer = found_in(access)["database"]
    assert (newer.status, "a newer release made" in newer.found) == ("problem", True)
    with database.write() as connection:
        connection.execute(sa.text("DELETE FROM alembic_version"))
    older = found_in(access)["database"]
    assert (older.status, older.fix) == ("warning", "restart the workers: they migrate it")
    database.close()


def test_a_database_that_is_none(access: QueueAccess, tmp_path: Path) -> None:
    (tmp_path / "nomad.db").write_bytes(b"this is no database" * 100)
    found = found_in(access)["database"]
    assert found.status == "problem", found


def test_disks_with_and_without_room(access: QueueAccess) -> None:
    assert found_in(access)["disk"].status == "ok"
    petabyte = 1 << 50
    assert found_in(access, disk_warning_bytes=petabyte)["disk"].status == "warning"
    full = found_in(access, disk_warning_bytes=petabyte, disk_problem_bytes=petabyte)["disk"]
    assert (full.status, "du -xh" in full.fix) == ("problem", True)


def test_the_admin_serves_the_report(access: QueueAccess) -> None:
    ask = create_app(access).test_client()  # type: ignore[arg-type]
    answer = ask.get("/admin/doctor")
    body = answer.get_json()
    assert (answer.status_code, body["healthy"], body["status"]) == (503, False, "problem")
    assert {"name", "status", "found", "fix"} == set(body["checks"][0])
    assert ask.get("/admin/doctor?verbose=1").status_code == 422
