"""SQLite files with this release's schema for tests, without the cost of its migrations."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import pytest

from nomad_actors.processes.private_files import make_directory, make_file
from nomad_actors.store.database import Database

from .postgres import Postgres


def put_database(path: Path) -> str:
    """Create an empty, migrated database at `path` if there is none; return its URL."""
    make_directory(path.parent)
    make_file(path)
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


def new_database(request: pytest.FixtureRequest, path: Path) -> str:
    """Return the URL of a database without rows: a file at `path`, or the test run's PostgreSQL for `postgresql`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return put_database(path)
    postgres: Postgres = request.getfixturevalue("postgres")
    postgres.clear()
    return postgres.url


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "nomad.db"
        database = Database(f"sqlite:///{path}")
        database.migrate()
        database.close()
        return path.read_bytes()
