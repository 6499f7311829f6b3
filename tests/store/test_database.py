"""The first use creates the schema, in any process; writers never see "database is locked"."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from nomad_actors.app import create_app
from nomad_actors.clock import SystemClock, mono_ms
from nomad_actors.errors import SettingsError, Unavailable, Unusable
from nomad_actors.settings import Settings
from nomad_actors.store import Store, TokenCipher, migrate
from nomad_actors.store.database import MORE_CONNECTIONS, Database
from nomad_actors.store.schema import REVISION, metadata
from tests.support.postgres import Postgres

_WRITER = """
import sys
from nomad_actors.app import create_app
from nomad_actors.clock import SystemClock, mono_ms
from nomad_actors.store import Store, TokenCipher
url, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = Store(url, cipher=TokenCipher(["key"]), clock=SystemClock())
sys.stdin.readline()
for number in range(first, first + count):
    store.logins.save(character_id=number, user_id=1, name="n", owner_hash="o", scopes=[], refresh_token="t")
    assert store.logins.get(number) is not None
store.close()
"""


def _open(url: str) -> Store:
    return Store(url, cipher=TokenCipher(["key"]), clock=SystemClock())


def _writers(url: str, processes: int, each: int) -> list[subprocess.Popen[str]]:
    """Start processes that all begin to use the database at the same time."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, url, str(number * each + 1), str(each)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return started


def test_processes_that_migrate_together_all_succeed(database_url: str) -> None:
    for process in _writers(database_url, processes=4, each=25):
        _, failures = process.communicate(timeout=60)
        assert process.returncode == 0, failures
    store = _open(database_url)
    assert len(store.logins.characters()) == 100
    store.close()


def test_nothing_connects_before_the_first_use(tmp_path: Path) -> None:
    store = _open(f"sqlite:///{tmp_path}/deep/down/nomad.db")
    assert not (tmp_path / "deep").exists()
    store.ping()
    assert (tmp_path / "deep/down/nomad.db").exists()
    store.close()


def test_the_migrations_make_exactly_the_declared_tables(store: Store) -> None:
    store.migrate()
    with store.database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_migration_is_the_current_revision() -> None:
    assert ScriptDirectory(str(Path(migrate.__file__).parent / "migrations")).get_current_head() == REVISION


def test_a_database_with_several_schemas_is_rejected_with_both(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nomad.db")
    database.migrate()
    with database.write() as connection:
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('9999')"))
    second = Database(f"sqlite:///{tmp_path}/nomad.db")
    with pytest.raises(Unusable, match=f"several schemas, {REVISION} and 9999"):
        second.migrate()


def test_a_database_of_this_release_is_used_without_alembic(tmp_path: Path) -> None:
    use = "import sys; from nomad_actors.store.database import Database; Database(sys.argv[1]).migrate(); "
    url = f"sqlite:///{tmp_path}/nomad.db"
    Database(url).migrate()
    subprocess.run([sys.executable, "-c", use + "sys.exit('alembic' in sys.modules)", url], check=True)


def test_sqlite_is_in_wal_mode_durable_and_enforces_foreign_keys(tmp_path: Path) -> None:
    store = _open(f"sqlite:///{tmp_path}/nomad.db")
    with store.database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 10_000}
    store.close()


def test_threads_that_read_then_write_never_see_a_locked_database(tmp_path: Path) -> None:
    stores = [_open(f"sqlite:///{tmp_path}/nomad.db") for _ in range(2)]
    troubles: list[BaseException] = []

    def work(store: Store, first: int) -> None:
        try:
            for number in range(first, first + 25):
                store.logins.save(
                    character_id=number, user_id=1, name="n", owner_hash="o", scopes=[], refresh_token="t"
                )
                store.logins.strike(number, 1)
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(stores[i % 2], i * 100 + 1)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert len(stores[0].logins.characters()) == 200
    for store in stores:
        store.close()


def test_a_writer_waits_for_another_programs_transaction(tmp_path: Path) -> None:
    store = _open(f"sqlite:///{tmp_path}/nomad.db")
    store.migrate()
    other = sqlite3.connect(tmp_path / "nomad.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    ending = threading.Timer(0.3, other.execute, ["COMMIT"])
    ending.start()
    store.logins.save(character_id=1, user_id=1, name="n", owner_hash="o", scopes=[], refresh_token="t")
    ending.join()
    other.close()
    assert store.logins.get(1) is not None
    store.close()


def test_a_database_that_stays_locked_is_unavailable_with_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomad_actors.store.database.BUSY_TIMEOUT_MS", 100)
    store = _open(f"sqlite:///{tmp_path}/nomad.db")
    store.migrate()
    other = sqlite3.connect(tmp_path / "nomad.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        store.logins.strike(1, 1)
    other.execute("COMMIT")
    other.close()
    assert not store.logins.strike(1, 1)
    store.close()


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    store.logins.save(character_id=1, user_id=1, name="n", owner_hash="o", scopes=[], refresh_token="t")

    def fail_half_way() -> None:
        with store.database.write() as connection:
            connection.execute(sa.text("UPDATE characters SET name = 'changed'"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert [character.name for character in store.logins.characters()] == ["n"]


def test_a_newer_releases_database_is_rejected_and_not_changed(store: Store) -> None:
    store.migrate()
    with store.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    later = _open(store.database.url.render_as_string(hide_password=False))
    with pytest.raises(Unusable, match="9999"):
        later.ping()
    later.close()


def test_a_forked_child_uses_its_own_connections(tmp_path: Path) -> None:
    store = _open(f"sqlite:///{tmp_path}/nomad.db")
    store.ping()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            store.logins.save(character_id=1, user_id=1, name="n", owner_hash="o", scopes=[], refresh_token="t")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert [character.character_id for character in store.logins.characters()] == [1]
    store.close()


def test_a_database_that_is_down_is_unavailable_with_the_cause() -> None:
    store = _open("postgresql://nomad@127.0.0.1:1/nomad")
    with pytest.raises(Unavailable, match=r"does not answer.*127\.0\.0\.1"):
        store.ping()


def test_a_directory_that_cannot_be_created_is_unavailable_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="file"):
        _open(f"sqlite:///{tmp_path}/file/nomad.db").ping()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "no url", "mysql://host/nomad"])
def test_a_url_without_a_valid_database_is_rejected(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        _open(url)


def test_errors_do_not_contain_the_values(store: Store) -> None:
    store.logins.save(character_id=1, user_id=1, name="n", owner_hash="o", scopes=[], refresh_token="t")
    misfit = {"character_id": 2, "route": "/r", "body_json": b"a player's secret", "pages": 1}
    with pytest.raises(sa.exc.IntegrityError) as caught, store.database.write() as connection:
        connection.execute(sa.insert(metadata.tables["documents"]).values(**misfit))
    assert "secret" not in str(caught.value)


def test_a_program_with_a_waiting_user_does_not_wait_long_for_postgres(postgres_url: str) -> None:
    database = Database(postgres_url, wait_ms=300)
    began_ms = mono_ms()
    with pytest.raises(Unavailable, match="statement timeout"), database.read() as connection:
        connection.execute(sa.text("SELECT pg_sleep(20)"))
    assert mono_ms() - began_ms < 5_000
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    database.close()


def test_the_pool_has_a_connection_for_each_thread_and_says_when_all_are_in_use(database_url: str) -> None:
    with contextlib.closing(Database(database_url)) as patient:
        patient.migrate()
    database = Database(database_url, wait_ms=300)
    database.prepare(threads=3)
    most = 3 + MORE_CONNECTIONS
    with contextlib.ExitStack() as held:
        for _ in range(most - 1):
            held.enter_context(database.engine.connect())
        database.migrate()
        held.enter_context(database.engine.connect())
        with (
            pytest.raises(Unavailable, match=rf"all {most} connections of this process .* for 0\.3 s"),
            database.read(),
        ):
            pass
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    database.close()


def test_a_workers_pool_is_as_large_as_its_queues_need(redis_url: str, database_url: str, tmp_path: Path) -> None:
    settings = Settings(redis_url=redis_url, database_url=database_url, var_dir=tmp_path, token_keys=("a key",))
    app = create_app(dataclasses.replace(settings, queue_concurrency={"esi-refresh": 40}))
    pool = app.store.database.engine.pool
    assert isinstance(pool, sa.pool.QueuePool)
    assert pool.size() == app.queues.total_concurrency() > 40
    app.close()


def _read(database: Database) -> str:
    """Return the error of reading, or '' if there is none; checks the time limit."""
    began_ms = mono_ms()
    try:
        with database.read() as connection:
            connection.execute(sa.text("SELECT 1"))
        return ""
    except Unavailable as error:
        assert mono_ms() - began_ms < 2_000
        return str(error)


@pytest.mark.parametrize("connected", [True, False])
def test_a_frozen_postgres_blocks_no_one(postgres: Postgres, connected: bool) -> None:
    database = Database(postgres.url, wait_ms=600)
    database.migrate()
    with ThreadPoolExecutor(6) as pool:
        if connected:
            assert list(pool.map(_read, [database] * 6)) == [""] * 6
        else:
            database.close()
        with postgres.frozen():
            failures = list(pool.map(_read, [database] * 12))
            assert all("no response in time" in each for each in failures), failures
        assert list(pool.map(_read, [database] * 6)) == [""] * 6
    assert database.engine.pool.status().find("Checked out connections: 0") != -1
    database.close()


def test_a_worker_does_not_wait_for_postgres_forever(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomad_actors.store.postgres.ANSWER_SECONDS", 0.5)
    database = Database(postgres.url)
    assert _read(database) == ""
    with postgres.frozen():
        assert "no response in time" in _read(database)
    assert _read(database) == ""
    database.close()


def test_the_urls_postgres_options_are_kept(postgres: Postgres) -> None:
    database = Database(f"{postgres.url}?options=-csearch_path%3Delsewhere&keepalives_idle=7", wait_ms=900)
    with database.engine.begin() as connection:
        found = {name: connection.execute(sa.text(f"SHOW {name}")).scalar() for name in ("search_path", "lock_timeout")}
        raw = connection.connection.driver_connection
        assert raw is not None
        assert raw.info.get_parameters()["keepalives_idle"] == "7"
    assert found == {"search_path": "elsewhere", "lock_timeout": "600ms"}
    database.close()


@pytest.mark.parametrize("kept_bytes", [0, 4096])
def test_a_damaged_file_is_unavailable_with_the_cause(tmp_path: Path, kept_bytes: int) -> None:
    file = tmp_path / "nomad.db"
    store = _open(f"sqlite:///{file}")
    store.ping()
    store.close()
    content = file.read_bytes()
    file.write_bytes(content[:kept_bytes] + random.Random(1).randbytes(len(content) - kept_bytes))
    damaged = _open(f"sqlite:///{file}")
    for use in (damaged.ping, damaged.ping, lambda: damaged.audit.read(1), lambda: damaged.logins.strike(1, 1)):
        with pytest.raises(
            Unavailable,
            match=r"nomad\.db cannot be used: it is (not a SQLite database|damaged) .*; restore it from a backup",
        ):
            use()
    damaged.close()


def test_a_file_that_is_damaged_while_in_use_fails_a_ping(tmp_path: Path) -> None:
    file = tmp_path / "nomad.db"
    store = _open(f"sqlite:///{file}")
    store.ping()
    # The log next to it would still be read.
    with store.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    store.ping()
    with file.open("r+b") as raw:
        raw.seek(4096)
        raw.write(random.Random(1).randbytes(file.stat().st_size - 4096))
    store.database.engine.dispose()
    with pytest.raises(Unavailable, match="malformed"):
        store.ping()
    store.close()


def test_threads_that_wait_for_the_first_use_share_its_failure(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nomad.db", wait_ms=500)
    other = sqlite3.connect(tmp_path / "nomad.db", isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(8) as pool:
        failures = list(pool.map(_read, [database] * 8))
    assert all("locked" in each for each in failures), failures
    other.execute("ROLLBACK")
    other.close()
    assert _read(database) == ""
    database.close()


def test_a_program_with_a_waiting_user_does_not_wait_for_a_hanging_migration(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nomad.db", wait_ms=300)
    with open(tmp_path / "nomad.db.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is migrating its schema" in _read(database)
    assert _read(database) == ""
    database.close()


def sqlite_locks(path: Path) -> list[str]:
    """Return the POSIX locks of this process on a file, as Linux lists them."""
    inode, pid = f":{path.stat().st_ino} ", f" {os.getpid()} "
    return [line for line in Path("/proc/locks").read_text().splitlines() if inode in line and pid in line]


def by_another_process(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Execute SQL in another process, which then closes the database; return its result."""
    code = (
        "import json, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "print(json.dumps(c.execute(sys.argv[2]).fetchall())); c.commit(); c.close()"
    )
    result = subprocess.run([sys.executable, "-c", code, path, statement], capture_output=True, text=True, check=True)
    found: list[tuple[object, ...]] = [tuple(row) for row in json.loads(result.stdout)]
    return found


def test_a_failed_migration_keeps_the_locks_and_loses_no_later_write(tmp_path: Path) -> None:
    path = tmp_path / "nomad.db"
    first = Database(f"sqlite:///{path}")
    first.migrate()
    first.close()
    (version,) = by_another_process(path, "SELECT version_num FROM alembic_version")[0]
    by_another_process(path, "UPDATE alembic_version SET version_num = '9999'")
    database = Database(f"sqlite:///{path}")
    for _ in range(3):
        with pytest.raises(Unusable), database.read():
            pass
        # Those of the connection that is kept for the next try: without them another process that closes the database
        # deletes its log of writes.
        assert sqlite_locks(path)
    by_another_process(path, f"UPDATE alembic_version SET version_num = '{version}'")
    with database.write() as connection:
        connection.execute(sa.text("INSERT INTO admin_revoked_tokens VALUES ('d', 'ada', 1, 'otto')"))
    assert by_another_process(path, "SELECT name FROM admin_revoked_tokens") == [("ada",)]
    database.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_moved_file_is_not_written_to(tmp_path: Path, replaced: bool) -> None:
    path, elsewhere = tmp_path / "nomad.db", tmp_path / "elsewhere"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    elsewhere.mkdir()
    for each in tmp_path.glob("nomad.db*"):
        each.rename(elsewhere / each.name)
    if replaced:
        other = Database(f"sqlite:///{path}")
        other.migrate()
        other.close()
    for use in (database.read, database.write, database.unmigrated):
        with (
            pytest.raises(Unusable, match="was replaced by another file" if replaced else "was moved or deleted"),
            use(),
        ):
            pass
    for each in elsewhere.iterdir():
        each.replace(path.with_name(each.name))
    with database.write() as connection:
        connection.execute(sa.text("INSERT INTO admin_revoked_tokens VALUES ('d', 'ada', 1, 'otto')"))
    database.close()


def test_a_migration_by_another_release_is_reported(database_url: str) -> None:
    store = Store(database_url, cipher=None, clock=SystemClock())
    store.ping()
    with store.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unusable, match="has schema 9999, but this process uses"):
        store.ping()
    store.close()
