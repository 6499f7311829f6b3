"""Brings the schema up to date when a process first uses the database; Alembic does the steps.

All steps are one transaction under one lock over all processes: of several that start at once the first
migrates and the others find it done; one that dies half way leaves the schema as it was.
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

# Alembic is imported by what migrates: it takes long, and a database of this release needs none.
if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"
#: PostgreSQL's advisory locks are numbers that all programs of a database share; this one spells "nomad".
_ADVISORY_LOCK = 0x6E6F6D6164
# Alembic keeps the running migration in module globals, so one at a time within a process.
_alembic_lock = threading.Lock()


class SchemaTooNew(Unusable):
    """Raised when the database was migrated by a newer release than this one: nothing is read or written then."""


def bring_up_to_date(engine: Engine, wait_seconds: float | None = None) -> str:
    """Create or migrate the schema of `engine`, whose transactions must begin as writing ones; return its revision.

    Another process that is at it is waited for, no longer than `wait_seconds` where somebody waits for us.

    Raises `SchemaTooNew`, `OSError` when it took too long, and whatever the database's driver raises.
    """
    with _alembic_lock, _migration_lock(engine, wait_seconds), engine.begin() as connection:
        if engine.url.get_backend_name() != "sqlite":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        found = _revision(connection)
        if found != REVISION:
            _upgrade(connection, found)
        return REVISION


def check_revision(connection: Connection, revision: str) -> None:
    """Check that nobody has migrated the database away from `revision`, which this process found or made.

    Raises `SchemaTooNew`.
    """
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found != revision:
        raise SchemaTooNew(
            f"the database is at schema {found}, and this process works with schema {revision}: another release "
            "migrated it meanwhile",
            "restart this program as that release",
        )


@dataclass(frozen=True)
class Schema:
    """The schema that a database has, the one that this release makes of it, and whether this release knows it."""

    found: str | None
    head: str
    is_known: bool

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be migrated."""
        return self.found == self.head

    @property
    def is_too_new(self) -> bool:
        """Whether a newer release than this one migrated it."""
        return self.found is not None and not self.is_known


def schema_of(connection: Connection) -> Schema:
    """Return which schema a database has; it is left as it is."""
    found = _revision(connection)
    return Schema(found, REVISION, found == REVISION or _is_known(found))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: list[str] = list(connection.scalars(text("SELECT version_num FROM alembic_version")))
    if len(found) > 1:
        raise Unusable(
            f"the database is at several schemas, {' and '.join(map(str, found))}: somebody wrote into alembic_version",
            "delete the rows that are not its schema, or restore a backup from before",
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
        raise SchemaTooNew(
            f"the database is at schema {found}, this release ({__version__}) knows schemas up to "
            f"{REVISION}: a newer release migrated it",
            "start that release, or restore a backup from before",
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, REVISION)


@contextmanager
def _migration_lock(engine: Engine, wait_seconds: float | None) -> Iterator[None]:
    """Hold SQLite's first steps, which BEGIN IMMEDIATE cannot guard: making the file and turning WAL on."""
    if engine.url.get_backend_name() != "sqlite":
        yield
        return
    path = Path(engine.url.database or "")
    make_directory(path.parent)
    lock = path.with_name(path.name + ".lock")
    # SQLite would give them the rights that the umask of whoever comes first leaves, and WAL and SHM those of the file.
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
                raise TimeoutError("another process is bringing its schema up to date") from error
            time.sleep(0.01)
