"""Schedulers, releases, database, disk and the admin's report."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from admin import create_app
from nomad_actors.app import QueueAccess
from nomad_actors.app import create_app as application
from nomad_actors.clock import SystemClock
from nomad_actors.esi import ROUTES, EsiResponse
from nomad_actors.esi.sifting import sifted
from nomad_actors.health import Installation, examine
from nomad_actors.health.history import history_families
from nomad_actors.health.schedule_checks import CLOCK_FIX, release_of
from nomad_actors.health.scrape import set_aside_family
from nomad_actors.jobs import SCHEDULES
from nomad_actors.scheduler import Schedules
from nomad_actors.store import Store, TokenCipher
from nomad_actors.store.database import Database
from nomad_actors.store.schema import history_coverage, history_holes
from nomad_actors.store.set_aside import set_aside_now

from .conftest import found_in, report_of


def beat(access: QueueAccess, name: str = "host:1", *, seconds_ago: float = 0, **fields: Any) -> None:
    book = access.queues.broker.schedules()
    book.beat(name, book.redis_ms() - seconds_ago * 1000, forget_before_ms=0, **fields)


def test_live_and_silent_schedulers(access: QueueAccess) -> None:
    missing = found_in(access)["schedulers"]
    assert (missing.severity, missing.remedy) == ("problem", "nomad run scheduler")
    beat(access, seconds_ago=300)
    assert "last heartbeat 300 s ago" in found_in(access)["schedulers"].cause
    beat(access)
    assert (found_in(access)["schedulers"].severity, found_in(access)["schedulers"].cause) == ("ok", "1 live: host:1")


def test_a_schedulers_clock_and_why_it_is_suspended(access: QueueAccess) -> None:
    beat(access, "late:1", offset_seconds=-30.2, suspended_reason="this host's clock and Redis' differ by -30.2 s")
    alone = found_in(access)["schedulers"]
    assert (alone.severity, alone.remedy) == ("problem", CLOCK_FIX)
    assert alone.cause == (
        "1 live: late:1, its clock 30.2 s behind Redis'; "
        "late:1 is suspended (this host's clock and Redis' differ by -30.2 s): due jobs are not added"
    )
    beat(access, "right:2", offset_seconds=0.01)
    one_suspended = found_in(access)["schedulers"]
    assert (one_suspended.severity, "late:1 is suspended" in one_suspended.cause) == ("warning", True)
    assert "due jobs are not added" not in one_suspended.cause
    beat(access, "late:1", offset_seconds=1.5)
    off = found_in(access)["schedulers"]
    assert (off.severity, "late:1, its clock 1.5 s ahead of Redis'" in off.cause) == ("warning", True)


class Later(SystemClock):
    def now_ms(self) -> int:
        return super().now_ms() + 4_000_000


def test_a_schedule_that_is_overdue(access: QueueAccess) -> None:
    schedules = Schedules(access.queues)
    schedules.declare(SCHEDULES)
    assert found_in(access)["schedules"].severity == "ok"
    schedules.schedule_job("often", "* * * * *", ("order", {"item": "venture"}))
    found = found_in(access, clock=Later())["schedule often"]
    assert (found.severity, found.remedy) == ("problem", "nomad run scheduler")
    assert found.cause.startswith("overdue: no scheduler has added the slot of 20")


def test_a_job_of_a_schedule_that_has_not_started_is_overdue_unless_its_queue_is_paused(access: QueueAccess) -> None:
    Schedules(access.queues).schedule_job("yearly", "@yearly", ("order", {"item": "venture"}))
    added = Schedules(access.queues).run_job("yearly")
    found = found_in(access, clock=Later())["schedule yearly"]
    assert (found.severity, found.remedy) == ("problem", f"nomad job {added.id}")
    assert "has not started" in found.cause
    access.queues.get_queue("shop").pause()
    assert "schedule yearly" not in found_in(access, clock=Later())


def test_schedules_of_the_code_that_redis_does_not_know(access: QueueAccess) -> None:
    empty = found_in(access)["schedules"]
    assert all(each.name in empty.cause for each in SCHEDULES)
    assert (empty.severity, "not in Redis: it restarted empty" in empty.cause) == ("problem", True)
    Schedules(access.queues).declare(SCHEDULES)
    assert found_in(access)["schedules"].severity == "ok"


@pytest.mark.parametrize(
    ("names", "status"), [(["a:1"], "unknown"), (["a:1@0.1.0"], "ok"), (["a:1@0.1.0", "b:2@0.0.9"], "warning")]
)
def test_releases_in_names_are_compared(access: QueueAccess, names: list[str], status: str) -> None:
    for name in names:
        beat(access, name)
    assert found_in(access)["releases"].severity == status
    assert release_of("host:12@1.2.3") == "1.2.3"
    assert release_of("host:12") is None


def test_the_database_is_checked_but_never_created_or_migrated(access: QueueAccess, tmp_path: Path) -> None:
    assert found_in(access)["database"].severity == "warning"
    assert not (tmp_path / "nomad.db").exists()
    database = Database(access.settings.database_url)
    database.migrate()
    assert found_in(access)["database"].severity == "ok"
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    newer = found_in(access)["database"]
    assert (newer.severity, "of a newer release" in newer.cause) == ("problem", True)
    with database.write() as connection:
        connection.execute(sa.text("DELETE FROM alembic_version"))
    older = found_in(access)["database"]
    assert (older.severity, older.remedy) == ("warning", "restart the workers: they migrate it")
    database.close()


def test_a_missing_database_file_while_workers_are_live(
    access: QueueAccess, working: Callable[[], AbstractContextManager[None]]
) -> None:
    with working():
        found = found_in(access)["database"]
    assert (found.severity, "but there are live workers" in found.cause) == ("warning", True)
    assert found.remedy.startswith("restore the file")


def test_the_command_reports_invalid_rows(access: QueueAccess) -> None:
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


def test_an_invalid_database(access: QueueAccess, tmp_path: Path) -> None:
    (tmp_path / "nomad.db").write_bytes(b"this is no database" * 100)
    found = found_in(access)["database"]
    assert found.severity == "problem", found


def test_disks_with_and_without_free_space(access: QueueAccess, tmp_path: Path) -> None:
    assert found_in(access)["disk"].severity == "ok"
    # The database's disk is checked if it is another one; a small size has a smaller unit.
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
    client = create_app(app).test_client()
    response = client.get("/admin/doctor")
    body = response.get_json()
    assert (response.status_code, body["healthy"], body["status"]) == (503, False, "problem")
    assert {"name", "status", "found", "fix"} == set(body["checks"][0])
    assert client.get("/admin/doctor?verbose=1").status_code == 422
    app.close()


def test_the_command_reports_rows_that_were_set_aside(access: QueueAccess) -> None:
    clock = SystemClock()
    store = Store(access.settings.database_url, cipher=TokenCipher(["a key for tests"]), clock=clock)
    login = {"name": "Ada Voss", "owner_hash": "owner", "scopes": [], "refresh_token": "r"}
    store.logins.save(character_id=1, user_id=7, **login)
    entry = {"id": 1, "date": "2026-10-01T12:00:00Z", "ref_type": "bounty", "description": "d"}
    journal = ROUTES["/characters/{character_id}/wallet/journal"]
    for body, as_of_ms in (([entry, entry | {"reason": "\0"}], 1), ([entry, None, {**entry, "id": 2**63}], 2)):
        assert not [each.name for each in report_of(access).findings if each.name.startswith("rows set aside")]
        response = sifted(journal, EsiResponse(200, False, body, None, None, 0, 1, None))
        store.documents.save(1, journal.name, response, as_of_ms=as_of_ms, next_due_ms=0)
    found = found_in(access)[f"rows set aside {journal.name}"]
    polled = Installation(access.settings, access.clock, access.broker, access.queues, database=store.database)
    assert not [each.name for each in examine(polled).findings if each.name.startswith("rows set aside")]
    samples = set_aside_family(set_aside_now(store.database)).samples
    store.close()
    assert found.severity == "warning"
    assert found.cause in [
        f"2 rows from ESI of 1 character could not be stored; the latest reason: {reason}"
        for reason in ("is null and not an object", "id is beyond 64 bits")
    ]
    assert "set_aside_rows" in found.remedy
    assert [(each.labels, each.value) for each in samples] == [({"dataset": journal.dataset}, 2)]


def test_history_at_risk_and_holes_that_esi_can_fill_are_reported_and_measured(access: QueueAccess) -> None:
    clock = SystemClock()
    now_ms, day_ms = clock.now_ms(), 86_400_000
    store = Store(access.settings.database_url, cipher=TokenCipher(["a key for tests"]), clock=clock)
    wallet = {"scopes": ["esi-wallet.read_character_wallet.v1"], "refresh_token": "r", "name": "n", "owner_hash": "o"}
    for character_id in range(1, 5):
        store.logins.save(character_id=character_id, user_id=7, **wallet)
    assert not [each.name for each in report_of(access).findings if each.name.startswith("history")]
    # Behind for 25 days, for 10, without the scope, and a login that is dead.
    store.logins.save(character_id=3, user_id=7, **(wallet | {"scopes": []}))
    store.logins.require_login(4, 1, reason="dead")
    of_journal = {"data_type": "wallet_journal", "complete_since_ms": 0}
    days = {1: 25, 2: 10, 3: 29, 4: 29}
    coverage = [of_journal | {"character_id": n, "complete_until_ms": now_ms - d * day_ms} for n, d in days.items()]
    hole = {"data_type": "wallet_journal", "from_ms": 1, "cause": "balance", "details": "", "found_ms": 1}
    ends = {1: now_ms - 31 * day_ms, 2: now_ms - day_ms, 4: now_ms - day_ms}
    with store.database.write() as connection:
        connection.execute(sa.insert(history_coverage), coverage)
        connection.execute(
            sa.insert(history_holes), [hole | {"character_id": n, "until_ms": ms} for n, ms in ends.items()]
        )
    found = found_in(access)
    samples = [each for family in history_families(store.database, clock) for each in family.samples]
    store.close()
    risk, holes = found["history wallet_journal"], found["history holes"]
    assert (risk.severity, holes.severity) == ("warning", "warning")
    assert "wallet_journal of 1 character (n 1) was not read completely for most of the 30 days" in risk.cause
    assert "lost in 5.0 days" in risk.cause
    assert risk.remedy.startswith("see: nomad history 1; see why: nomad jobs")
    assert "nomad history holes" in holes.remedy
    assert "the history of 1 character has holes" in holes.cause
    values = {(each.name, *each.labels.values()): each.value for each in samples}
    assert values["nomad_history_holes", "wallet_journal", "balance"] == 2
    assert values["nomad_history_holes", "market_orders", "retention"] == 0
    assert values["nomad_history_at_risk_characters", "wallet_journal"] == 1
    assert values["nomad_history_at_risk_characters", "industry_jobs"] == 0
    oldest = values["nomad_history_oldest_complete_timestamp_seconds", "wallet_journal"]
    assert oldest == pytest.approx(now_ms / 1000 - 25 * 86_400)


def test_the_characters_that_are_furthest_behind_are_named_and_since_when_rows_are_lost(access: QueueAccess) -> None:
    now_ms, day_ms = SystemClock().now_ms(), 86_400_000
    store = Store(access.settings.database_url, cipher=TokenCipher(["a key for tests"]), clock=SystemClock())
    wallet = {"scopes": ["esi-wallet.read_character_wallet.v1"], "refresh_token": "r", "owner_hash": "o"}
    # The one that is furthest behind lacks the scope; of the others every one has a set of scopes of its own.
    days = {1: 60, 2: 40, 3: 50, 4: 26, 5: 45, 6: 10}
    for character_id in days:
        scopes = [] if character_id == 1 else [*wallet["scopes"], f"scope {character_id}"]
        store.logins.save(
            character_id=character_id, user_id=7, name=f"P{character_id}", **(wallet | {"scopes": scopes})
        )
    of_journal = {"data_type": "wallet_journal", "complete_since_ms": 0}
    coverage = [of_journal | {"character_id": n, "complete_until_ms": now_ms - d * day_ms} for n, d in days.items()]
    with store.database.write() as connection:
        connection.execute(sa.insert(history_coverage), coverage)
    store.logins.require_login(6, 1, reason="dead")
    found = found_in(access)["history wallet_journal"]
    page = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"### NomadHistoryAtRisk\n.*?```sql\n(.*?);\n```", page, re.DOTALL)
    with store.database.read() as connection:
        listed = [(row.character_id, row.name) for row in connection.execute(sa.text(query))]
    store.close()
    assert listed == [(1, "P1"), (3, "P3"), (5, "P5"), (2, "P2"), (4, "P4")]
    assert "of 4 characters (P3 3, P5 5, P2 2, and 1 more) was not read" in found.cause
    since = f"{datetime.fromtimestamp(now_ms / 1000 - 20 * 86_400, UTC):%Y-%m-%d %H:%M:%S} UTC"
    assert found.cause.endswith(f"; ESI has dropped rows since {since}")
    assert found.remedy.startswith("see: nomad history 3; ")
