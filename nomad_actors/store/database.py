"""The engine and the two kinds of transactions: reading, and writing one at a time.

SQLite runs in WAL mode, so readers never wait. A write transaction begins IMMEDIATE, because a read transaction that
starts to write fails immediately with "database is locked" if another one has written meanwhile. Within a process,
writers queue for our own lock, because SQLite's waiters sleep and poll, and may starve.
"""

from __future__ import annotations

import errno
import functools
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from .. import exact_json
from ..errors import SettingsError, Unavailable, Unusable
from .bulk_copy import execute_copy
from .migrate import Schema, bring_up_to_date, check_revision, schema_of
from .schema import REVISION
from .url import check_options, parse

BUSY_TIMEOUT_MS = 10_000
_TURN_WAIT_MS = 10
#: How long one statement of a migration, or the wait for another migrating process, may take.
MIGRATION_SECONDS = 600.0
#: The threads of a process for which a connection stays open, unless its queues' concurrencies are known.
DEFAULT_THREADS = 10
#: More connections for what else a process does: heartbeats, health, a scrape of its metrics.
MORE_CONNECTIONS = 5

_ELSEWHERE = "or set another file in DATABASE_URL"
_PERMISSIONS = f"make it and its directory writable for this process's user (chown; no read-only mount), {_ELSEWHERE}"
_ROOM = "free space on its disk (df -h)"
_RESTORE = f"restore it from a backup, {_ELSEWHERE}"

#: By SQLite's primary result code: what is wrong, and what to do.
_SQLITE = {
    sqlite3.SQLITE_PERM: ("access is denied", _PERMISSIONS),
    sqlite3.SQLITE_READONLY: ("it cannot be written to", _PERMISSIONS),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", _PERMISSIONS),
    sqlite3.SQLITE_FULL: ("the disk is full", _ROOM),
    sqlite3.SQLITE_IOERR: ("its disk returns errors", f"check the disk: dmesg, df -h; {_ROOM}"),
    sqlite3.SQLITE_NOTADB: ("it is not a SQLite database", _RESTORE),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", _RESTORE),
}
_OS = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), ("it cannot be written to", _PERMISSIONS)),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), ("the disk is full", _ROOM)),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT),
        ("its directory does not exist", f"create its directory, {_ELSEWHERE}"),
    ),
}


class Database:
    """One database, by URL: `sqlite:///path` or `postgresql://…`; it connects on first use.

    The first transaction of a process creates or migrates the schema. Raises `SettingsError` for an invalid URL; every
    method raises `Unavailable` if the database does not answer or is not a database.

    Parameters:
      migrates: whether the first transaction may create or migrate the schema; if not, it raises `Unusable`.
      wait_ms: SQLite: how long a transaction waits for this process's writers, and then for those of other processes
        (None: 10 s each). PostgreSQL: how long a transaction may take (None: a minute per response). Workers can wait;
        programs with a waiting user cannot.
    """

    def __init__(self, url: str, *, wait_ms: int | None = None, migrates: bool = True) -> None:
        self.url = parse(url)
        self._migrates = migrates
        #: Whether this is SQLite, which means one host and one writer.
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._busy_ms = BUSY_TIMEOUT_MS if wait_ms is None else wait_ms
        self._wait_seconds = None if wait_ms is None else wait_ms / 1000
        self._wait_ms = wait_ms
        self.prepare(DEFAULT_THREADS)
        self._write_lock = threading.Lock()
        self._ready_lock = threading.Lock()
        self._ready_pid = 0
        self._revision = ""
        #: The SQLite file (device and inode) that this process has open.
        self._file: tuple[int, int] | None = None
        #: The connection of the thread's outermost `read`.
        self._reading = threading.local()
        #: The error of the last failed migration, and its time (monotonic).
        self._unready: tuple[Unavailable, float] | None = None

    def prepare(self, threads: int) -> None:
        """Keep connections for as many threads, and a few more; before the first use only."""
        self.engine = _engine(self.url, self._busy_ms, self._wait_ms, threads)
        self._writer = self.engine.execution_options(nomad_writes=True)

    @property
    def was_used(self) -> bool:
        return self._ready_pid == os.getpid()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection in a read-only transaction with one consistent view.

        Inside another one of the same thread, its connection.
        """
        if (outer := getattr(self._reading, "connection", None)) is not None:
            yield outer
            return
        self.migrate()
        self._check_file()
        with _translated(self.engine), self._in_time(), self.engine.begin() as connection:
            self._reading.connection = connection
            try:
                yield connection
            finally:
                self._reading.connection = None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in a write transaction; keep it short, without other I/O inside."""
        self.migrate()
        self._check_file()
        with self._turn(), _translated(self.engine), self._in_time(), self._writer.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Create or migrate the schema, once per process; several processes may do so at the same time."""
        if self.was_used:
            return
        began_mono = time.monotonic()
        # The thread that migrates gives up after half of this time.
        timeout_seconds = None if self._wait_seconds is None else 2 * self._wait_seconds
        with _held(self._ready_lock, timeout_seconds, "others have been migrating its schema"):
            if self._ready_pid == os.getpid():
                return
            if self._unready is not None and self._unready[1] >= began_mono:
                # Another thread tried it while we waited; if each thread tried again, the waits would add up.
                raise Unavailable(str(self._unready[0])) from self._unready[0]
            try:
                self._migrate()
            except Unavailable as error:
                self._unready = error, time.monotonic()
                raise
            self._file = self._current_file()
            self._ready_pid = os.getpid()

    def _migrate(self) -> None:
        if self._ready_pid:
            # A forked child must neither use nor close its parent's connections.
            self.engine.dispose(close=False)
            self._write_lock = threading.Lock()
        if not self._migrates:
            if (why := self.why_not_ready()) is not None:
                raise Unusable(why, "start the programs of this release first (nomad run workers): they migrate it")
            self._revision = REVISION
            return
        with _translated(self.engine), self._in_time(each_seconds=MIGRATION_SECONDS):
            self._revision = bring_up_to_date(self._writer, self._wait_seconds)

    def check_revision(self, connection: Connection) -> None:
        """Raise `Unusable` if the database has been migrated since this process began to use it."""
        check_revision(connection, self._revision)

    def schema(self) -> Schema:
        """Return the schema of the database, without migrating it."""
        with self.unmigrated() as connection:
            return schema_of(connection)

    def why_not_ready(self) -> str | None:
        """Return why the database would have to be created or migrated first; None if it need not.

        Creates nothing.
        """
        path = Path(self.url.database or "")
        if self.is_sqlite and not path.exists():
            return f"the database {path} does not exist (working directory: {Path.cwd()})"
        found = self.schema()
        if found.is_current:
            return None
        return f"the database has schema {found.found or '(none)'}, but this release needs {found.head}"

    @contextmanager
    def unmigrated(self) -> Iterator[Connection]:
        """Yield a read-only connection without migrating the schema."""
        if self.was_used:
            self._check_file()
        try:
            with _translated(self.engine), self._in_time(), self.engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise Unavailable(f"the database cannot be read: {error.orig}") from error

    def close(self) -> None:
        self.engine.dispose()

    def _check_file(self) -> None:
        """Raise `Unusable` if the file was moved or replaced: later writes would be lost when this process ends."""
        current = self._current_file()
        if current == self._file:
            return
        path = self.url.database
        if current is None:
            raise Unusable(
                f"the database file {path} was moved or deleted while this process has it open",
                "put it back with -wal and -shm; a deleted file is still in /proc/PID/fd of a running process",
            )
        raise Unusable(
            f"the database file {path} was replaced by another file while this process has it open",
            "put the first one back, or restart the programs to use the new one",
        )

    def _current_file(self) -> tuple[int, int] | None:
        if not self.is_sqlite:
            return None
        try:
            found = os.stat(self.url.database or "")
        except FileNotFoundError:
            return None
        except OSError:
            # Opening the file will report this error.
            return self._file
        return found.st_dev, found.st_ino

    def _in_time(self, **limits: float) -> AbstractContextManager[None]:
        """Limit the time of the queries inside, for databases that may never answer."""
        if self.is_sqlite:
            return nullcontext()
        # Imported here: PostgreSQL's driver is an extra.
        from .postgres import answered_within

        if self._wait_seconds is not None:
            limits["total_seconds"] = self._wait_seconds
        return answered_within(**limits)

    def _turn(self) -> AbstractContextManager[None]:
        if not self.is_sqlite:
            return nullcontext()
        # The writers before us may wait as long as we do.
        return _held(self._write_lock, self._busy_ms / 1000, "others have been writing")


@contextmanager
def _held(lock: threading.Lock, seconds: float | None, why: str) -> Iterator[None]:
    """Hold a lock; raise `Unavailable` with `why` if it is not free within `seconds` (None: without limit)."""
    if not lock.acquire(timeout=-1 if seconds is None else seconds):
        raise Unavailable(f"the database does not answer: {why} for {(seconds or 0) * 1000:.0f} ms")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(f"the database does not answer: {_all_in_use(engine)}") from error
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sqlite3.Error, OSError) as error:
        raise _as_unavailable(error, engine.url) from error
    except sa.exc.DatabaseError as error:
        # SQLite has no error class for a file that is damaged or not a database.
        if type(error.orig) is not sqlite3.DatabaseError:
            raise
        raise _as_unavailable(error, engine.url) from error


def _all_in_use(engine: Engine) -> str:
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    return (
        f"all {pool.size() + MORE_CONNECTIONS} connections of this process have been in use for {pool.timeout():g} s: "
        "transactions take too long, or more threads use the database than the queues have (NOMAD_CONCURRENCY)"
    )


def _as_unavailable(error: Exception, url: URL) -> Unavailable:
    """Return a driver's error as `Unavailable`, or as `Unusable` if waiting does not help."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if found := _permanent(cause):
        what, fix = found
        return Unusable(f"the database {url.database} cannot be used: {what} ({cause})", fix)
    return Unavailable(f"the database does not answer: {cause}")


def _permanent(cause: BaseException) -> tuple[str, str] | None:
    if isinstance(cause, sqlite3.Error):
        return _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    # An error without a file name is one of the network, which is temporary.
    if isinstance(cause, OSError) and cause.filename is not None:
        return _OS.get(cause.errno or 0)
    return None


def _engine(url: URL, busy_ms: int, wait_ms: int | None, threads: int) -> Engine:
    # Parameters contain encrypted tokens and players' data: they must not get into errors and logs.
    options: dict[str, Any] = {
        "pool_size": threads,
        "max_overflow": MORE_CONNECTIONS,
        "hide_parameters": True,
        "json_serializer": exact_json.dumps,
        "json_deserializer": exact_json.loads,
    }
    if wait_ms is not None:
        options["pool_timeout"] = wait_ms / 1000
    try:
        check_options(url)
        if url.get_backend_name() == "sqlite":
            options["connect_args"] = {"timeout": busy_ms / 1000}
        else:
            from .postgres import connect_options

            options |= {"pool_pre_ping": True, "connect_args": connect_options(url.query)}
        engine = sa.create_engine(url, **options)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise SettingsError(
            [f"DATABASE_URL needs a driver that is not installed ({error}); install nomad-actors[postgres]"]
        ) from error
    if url.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", functools.partial(_begin_sqlite, busy_ms))
    else:
        sa.event.listen(engine, "do_connect", _connect_postgres)
        sa.event.listen(engine, "do_execute", execute_copy)
        if wait_ms is not None:
            sa.event.listen(engine, "begin", functools.partial(_begin_postgres, wait_ms))
    return engine


def _connect_postgres(_dialect: object, _record: object, arguments: Any, options: Any) -> Any:
    from .postgres import Connection

    return Connection.connect(*arguments, **options)


def _begin_postgres(wait_ms: int, connection: Connection) -> None:
    from .postgres import time_limits

    connection.exec_driver_sql(time_limits(wait_ms))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own BEGIN is deferred and comes late; `_begin_sqlite` begins explicitly.
    connection.isolation_level = None
    # Replace bytes that are not UTF-8: they would fail every query that reads them.
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
    connection.execute("PRAGMA foreign_keys = ON")
    # FULL, not WAL's usual NORMAL: a rotated refresh token must survive a power failure, because the old one is dead.
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(busy_ms: int, connection: Connection) -> None:
    # Directly: SQLAlchemy's own way costs as much as a query.
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    if connection.get_execution_options().get("nomad_writes"):
        _begin_writing(raw, busy_ms)
    else:
        raw.execute("BEGIN")


def _begin_writing(connection: sqlite3.Connection, busy_ms: int) -> None:
    """Begin a write transaction; wait for another process's writer at most `busy_ms`."""
    deadline = time.monotonic() + busy_ms / 1000
    # While waiting, SQLite sleeps longer and longer, up to 100 ms, so a process that has waited long keeps losing to
    # new ones. Many short waits give all of them the same chance.
    connection.execute(f"PRAGMA busy_timeout = {_TURN_WAIT_MS}")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
