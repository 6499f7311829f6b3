"""A PostgreSQL server for tests, which can be frozen like a hanging host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from nomad_actors.processes.local_redis import free_port
from nomad_actors.store.schema import REVISION, metadata


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    url: str
    data: Path

    def empty(self) -> None:
        """Remove everything from the database."""
        engine = sa.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        engine.dispose()

    def new_database(self, name: str) -> str:
        """Create an empty database beside the usual one; return its URL."""
        engine = sa.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def clear(self) -> None:
        """Remove all rows from a database with this release's schema, which costs less than to migrate it again."""
        engine = sa.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            is_migrated = sa.inspect(connection).has_table("alembic_version")
            version = sa.text("SELECT version_num FROM alembic_version")
            is_current = is_migrated and list(connection.scalars(version)) == [REVISION]
            if is_current:
                connection.exec_driver_sql(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
        engine.dispose()
        if not is_current:
            self.empty()

    @contextmanager
    def refusing(self, name: str) -> Iterator[None]:
        """Close the connections to a database of this server and allow no new ones."""
        engine = sa.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                end = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
                connection.execute(end, {"name": name})
                yield
                connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        finally:
            engine.dispose()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze all its processes: connections stay open, connecting works, but nothing is answered."""
        postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        # The process that starts the others first.
        stopped = [postmaster]
        _send(signal.SIGSTOP, stopped)
        try:
            stopped += postmaster.children(recursive=True)
            _send(signal.SIGSTOP, stopped)
            yield
        finally:
            _send(signal.SIGCONT, stopped)


def _send(number: signal.Signals, processes: list[psutil.Process]) -> None:
    for process in processes:
        # The process of a connection that was just closed may be gone.
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def programs() -> Path:
    """Return the directory of PostgreSQL's programs; skip the test if it is not installed."""
    found = shutil.which("initdb")
    directories = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    directory = next((directory for directory in reversed(directories) if (directory / "initdb").exists()), None)
    if directory is None:
        if os.environ.get("NOMAD_REQUIRE_ALL") == "1":
            pytest.fail("no postgres found")
        pytest.skip("postgres is not installed")
    return directory


def serve() -> Iterator[Postgres]:
    """Serve an empty database; skip the test if PostgreSQL is not installed."""
    bin_directory = programs()
    # Not below pytest's own directory: every starting pytest, even one started by a test, closes that to others.
    with tempfile.TemporaryDirectory(prefix="nomad-postgres-") as directory:
        yield from _serve(bin_directory, Path(directory))


def _serve(bin_directory: Path, directory: Path) -> Iterator[Postgres]:
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    if user:
        shutil.chown(directory, user)
    data, port = directory / "data", free_port()
    subprocess.run(
        [bin_directory / "initdb", "-D", data, "-U", "nomad", "--auth", "trust", "--no-sync"],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        cwd=directory,
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    control = [str(bin_directory / "pg_ctl"), "-D", str(data)]
    subprocess.run(
        [*control, "-w", "-o", options, "-l", str(directory / "log"), "start"],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        cwd=directory,
    )
    yield Postgres(f"postgresql://nomad@127.0.0.1:{port}/postgres", data)
    subprocess.run(
        [*control, "-m", "immediate", "stop"], user=user, check=True, stdout=subprocess.DEVNULL, cwd=directory
    )
