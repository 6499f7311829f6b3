"""Migrates the schema with Alembic when a process first uses the database.

All steps run in one transaction under a lock across processes: of several processes that start together, the first one
migrates and the others find it done; one that dies halfway leaves the schema unchanged.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection, Engine

from ..errors import Unusable
from ..processes.private_files import make_directory, make_file
from ..version import __version__
from .schema import REVISION
from .views import create_views, drop_views

# Alembic is imported only for a migration: the import is slow, and a database with the current schema does not need it.
if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"
#: All programs on a database share the numbers of PostgreSQL's advisory locks; this one spells "nomad".
_ADVISORY_LOCK = 0x6E6F6D6164
# Alembic keeps the running migration in module globals, so a process can run only one at a time.
_alembic_lock = threading.Lock()


def bring_up_to_date(engine: Engine, wait_seconds: float | None = None) -> str:
    """Create or migrate the schema and return its revision; the transactions of `engine` must be write transactions.

    Waits for another migrating process, at most `wait_seconds` (None: without limit).

    Raises `Unusable`, `OSError` if the wait was too long, and the database driver's errors.
    """
    with _alembic_lock, _migration_lock(engine, wait_seconds), engine.begin() as connection:
        if engine.url.get_backend_name() != "sqlite":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        found = _revision(connection)
        if found != REVISION:
            _upgrade(connection, found)
        return REVISION


def check_revision(connection: Connection, revision: str) -> None:
    """Raise `Unusable` if the database no longer has `revision`, with which this process began."""
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found != revision:
        raise Unusable(
            f"the database has schema {found}, but this process uses schema {revision}: another release migrated it "
            "meanwhile",
            "restart this program with that release",
        )


@dataclass(frozen=True)
class Schema:
    """The schema of a database, that of this release, and whether this release knows the former."""

    found: str | None
    head: str
    is_known: bool

    @property
    def is_current(self) -> bool:
        return self.found == self.head

    @property
    def is_too_new(self) -> bool:
        return self.found is not None and not self.is_known


def schema_of(connection: Connection) -> Schema:
    """Return the schema of a database, without changing it."""
    found = _revision(connection)
    return Schema(found, REVISION, found == REVISION or _is_known(found))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: list[str] = list(connection.scalars(text("SELECT version_num FROM alembic_version")))
    if len(found) > 1:
        raise Unusable(
            f"the database has several schemas, {' and '.join(map(str, found))}: someone changed alembic_version",
            "delete the rows that are not its schema, or restore an earlier backup",
        )
    return found[0] if found else None


def _is_known(revision: str | None) -> bool:
    from alembic.script import ScriptDirectory

    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection, found: str | None) -> None:
    from alembic import command

    if found is not None and not _is_known(found):
        raise Unusable(
            f"the database has schema {found}, but this release ({__version__}) knows only schemas up to "
            f"{REVISION}: a newer release migrated it",
            "start that release, or restore an earlier backup",
        )
    config = _config()
    config.attributes["connection"] = connection
    grants = drop_views(connection)
    command.upgrade(config, REVISION)
    create_views(connection, grants)


@contextmanager
def _migration_lock(engine: Engine, wait_seconds: float | None) -> Iterator[None]:
    """Create SQLite's file and enable WAL under a lock, because BEGIN IMMEDIATE cannot protect these steps."""
    if engine.url.get_backend_name() != "sqlite":
        yield
        return
    path = Path(engine.url.database or "")
    make_directory(path.parent)
    lock = path.with_name(path.name + ".lock")
    # SQLite would use the umask of the first process for the file, and the file's permissions for WAL and SHM.
    for each in (lock, path):
        make_file(each)
    with lock.open("r+") as file:
        _lock(file, wait_seconds)
        with engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA journal_mode = WAL")
        yield


def _lock(file: IO[str], wait_seconds: float | None) -> None:
    if wait_seconds is None:
        fcntl.flock(file, fcntl.LOCK_EX)
        return
    deadline_mono = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline_mono:
                raise TimeoutError("another process is migrating its schema") from error
            time.sleep(0.01)
