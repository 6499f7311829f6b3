"""The engine, and the two kinds of transaction: reading, and writing one at a time.

SQLite runs in WAL mode: readers never wait. A writing transaction begins IMMEDIATE, because a reading one
that turns into a writing one fails at once with "database is locked" when another has written meanwhile;
and within a process writers queue at a lock of ours, because SQLite's own waiters sleep and poll, and may
starve.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..errors import SettingsError, Unavailable, Unusable
from .failures import as_unavailable
from .migrate import Schema, bring_up_to_date, check_revision, schema_of
from .url import check_options, parse

BUSY_TIMEOUT_MS = 10_000
_TURN_WAIT_MS = 10
#: How long one statement of a migration may take, or the wait for another process that is at it.
MIGRATION_SECONDS = 600.0
#: More than the threads of a worker process (its queues' concurrencies, 19 by default) and its other users.
POOL_SIZE, POOL_OVERFLOW = 10, 40


class Database:
    """One database, by URL: `sqlite:///path` or `postgresql://…`; nothing connects before the first use.

    The first transaction of a process creates or migrates the schema. Raises `SettingsError` for a URL that
    names no usable database.

    Parameters:
      wait_ms: how long a transaction waits for its turn to write, and then for other processes' writers; of PostgreSQL
        how long all of it may take, None for a minute an answer. Workers have patience, a program that somebody waits
        for has not.
    """

    def __init__(self, url: str, *, wait_ms: int | None = None) -> None:
        self.url = parse(url)
        self._busy_ms = BUSY_TIMEOUT_MS if wait_ms is None else wait_ms
        self._wait_seconds = None if wait_ms is None else wait_ms / 1000
        self.engine = _engine(self.url, self._busy_ms, wait_ms)
        self._writer = self.engine.execution_options(nomad_writes=True)
        self._write_lock = threading.Lock()
        self._ready_lock = threading.Lock()
        self._ready_pid = 0
        self._revision = ""
        #: The file (device and inode) that this process has open, where the database is one.
        self._file: tuple[int, int] | None = None
        #: Why the schema could not be brought up to date, and when that was (monotonic).
        self._unready: tuple[Unavailable, float] | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite: one host, one writer."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def was_used(self) -> bool:
        """Whether this process has had a transaction on it."""
        return self._ready_pid == os.getpid()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection in a transaction that only reads: one consistent view.

        Raises `Unavailable` when the database does not answer.
        """
        self.migrate()
        self._check_file()
        with _translated(self.url), self._in_time(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a transaction that writes; keep it short, with no other I/O inside.

        Raises `Unavailable` when the database does not answer.
        """
        self.migrate()
        self._check_file()
        with self._turn(), _translated(self.url), self._in_time(), self._writer.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Create the schema or bring it up to date, once a process; many processes may do so at once.

        Raises `Unavailable` when the database does not answer, `SchemaTooNew` when a newer release made it.
        """
        if self._ready_pid == os.getpid():
            return
        began_mono = time.monotonic()
        # Whoever is at it gives up in half the time.
        patience = None if self._wait_seconds is None else 2 * self._wait_seconds
        with _held(self._ready_lock, patience, "others have been bringing its schema up to date"):
            if self._ready_pid == os.getpid():
                return
            if self._unready is not None and self._unready[1] >= began_mono:
                # It was tried while we waited; one after another would wait once more each.
                raise Unavailable(str(self._unready[0])) from self._unready[0]
            try:
                self._migrate()
            except Unavailable as error:
                self._unready = error, time.monotonic()
                raise
            self._file = self._file_there()
            self._ready_pid = os.getpid()

    def _migrate(self) -> None:
        if self._ready_pid:
            self._after_fork()
        with _translated(self.url), self._in_time(each_seconds=MIGRATION_SECONDS):
            self._revision = bring_up_to_date(self._writer, self._wait_seconds)

    def check_revision(self, connection: Connection) -> None:
        """Check that nobody has migrated the database since this process began to use it.

        Raises `SchemaTooNew`.
        """
        check_revision(connection, self._revision)

    def schema(self) -> Schema:
        """Return which schema the database has, without migrating it.

        Raises `Unavailable` when it does not answer, or is none.
        """
        with self.unmigrated() as connection:
            return schema_of(connection)

    @contextmanager
    def unmigrated(self) -> Iterator[Connection]:
        """Give a connection that only reads, without migrating.

        Raises `Unavailable` when the database does not answer, or is none.
        """
        if self.was_used:
            self._check_file()
        try:
            with _translated(self.url), self._in_time(), self.engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise Unavailable(f"the database cannot be read: {error.orig}") from error

    def close(self) -> None:
        """Close every connection that no transaction holds."""
        self.engine.dispose()

    def _check_file(self) -> None:
        """Refuse a file that was moved, deleted or replaced: what is written now would be lost with this process.

        Raises `Unusable`.
        """
        there = self._file_there()
        if there == self._file:
            return
        path = self.url.database
        if there is None:
            raise Unusable(
                f"the database file {path} was moved or deleted while this process has it open",
                "put it back with -wal and -shm; of a deleted one, /proc/PID/fd of a running process has the rest",
            )
        raise Unusable(
            f"another file was put in the place of the database {path} while this process has that open",
            "put the first one back, or restart the programs to use the new one",
        )

    def _file_there(self) -> tuple[int, int] | None:
        if not self.is_sqlite:
            return None
        try:
            found = os.stat(self.url.database or "")
        except FileNotFoundError:
            return None
        except OSError:
            # Whoever opens it says why.
            return self._file
        return found.st_dev, found.st_ino

    def _after_fork(self) -> None:
        # A forked child must neither use nor close its parent's connections.
        self.engine.dispose(close=False)
        self._write_lock = threading.Lock()

    def _in_time(self, **limits: float) -> AbstractContextManager[None]:
        """Let what is asked inside end in time, for databases that may never answer."""
        if self.is_sqlite:
            return nullcontext()
        # Here, not above: PostgreSQL's driver is an extra.
        from .postgres import answered_within

        if self._wait_seconds is not None:
            limits["total_seconds"] = self._wait_seconds
        return answered_within(**limits)

    def _turn(self) -> AbstractContextManager[None]:
        if not self.is_sqlite:
            return nullcontext()
        # Each that comes before may wait as long as we.
        return _held(self._write_lock, self._busy_ms / 1000, "others have been writing")


@contextmanager
def _held(lock: threading.Lock, seconds: float | None, why: str) -> Iterator[None]:
    """Hold a lock that is waited for no longer than `seconds`, None for as long as it takes.

    Raises `Unavailable`, saying `why` it could not be had.
    """
    if not lock.acquire(timeout=-1 if seconds is None else seconds):
        raise Unavailable(f"the database does not answer: {why} for {(seconds or 0) * 1000:.0f} ms")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _translated(url: URL) -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sqlite3.Error, PoolTimeout, OSError) as error:
        raise as_unavailable(error, url) from error
    except sa.exc.DatabaseError as error:
        # SQLite has no class of its own for a file that is damaged, or none of its.
        if type(error.orig) is not sqlite3.DatabaseError:
            raise
        raise as_unavailable(error, url) from error


def _engine(url: URL, busy_ms: int, wait_ms: int | None) -> Engine:
    # Parameters hold encrypted tokens and players' data: they stay out of errors and logs.
    options: dict[str, Any] = {
        "pool_size": POOL_SIZE,
        "max_overflow": POOL_OVERFLOW,
        "hide_parameters": True,
    }
    try:
        check_options(url)
        if url.get_backend_name() == "sqlite":
            options["connect_args"] = {"timeout": busy_ms / 1000}
        else:
            options |= _postgres_options(url, wait_ms)
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
    return engine


def _postgres_options(url: URL, wait_ms: int | None) -> dict[str, Any]:
    from .postgres import connect_options

    options: dict[str, Any] = {"pool_pre_ping": True, "connect_args": connect_options(url.query, wait_ms)}
    return options if wait_ms is None else {**options, "pool_timeout": wait_ms / 1000}


def _connect_postgres(_dialect: object, _record: object, arguments: Any, options: Any) -> Any:
    from .postgres import Connection

    return Connection.connect(*arguments, **options)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own BEGIN is deferred and comes late; ours is said explicitly in `_begin_sqlite`.
    connection.isolation_level = None
    # Text that is no UTF-8 is shown as far as it goes: it would fail every query that meets it.
    connection.text_factory = _text
    connection.execute("PRAGMA foreign_keys = ON")
    # FULL, not WAL's usual NORMAL: a rotated refresh token must survive a power cut, for the old one is dead.
    connection.execute("PRAGMA synchronous = FULL")


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


def _begin_sqlite(busy_ms: int, connection: Connection) -> None:
    if not connection.get_execution_options().get("nomad_writes"):
        connection.exec_driver_sql("BEGIN")
        return
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    _begin_writing(raw, busy_ms)


def _begin_writing(connection: sqlite3.Connection, busy_ms: int) -> None:
    """Begin with the right to write, waiting for another process' writer at most `busy_ms`."""
    deadline = time.monotonic() + busy_ms / 1000
    # SQLite's waiting sleeps longer each time, to 100 ms, and so a process that waited long keeps losing to those
    # that came just now. Many short waits give each the same chance.
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
