"""The database URL: supported databases and validation of options."""

from __future__ import annotations

import sqlite3
import warnings

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SAWarning

from ..errors import SettingsError

ALLOWED = "allowed: sqlite:///path or postgresql://…"
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def parse(text: str) -> URL:
    """Return the URL of a supported database; raises `SettingsError`, which never contains the password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise SettingsError([f"DATABASE_URL is not a URL; {ALLOWED}"]) from error
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise SettingsError([f"DATABASE_URL has the unsupported scheme {url.drivername[:80]!r}; {ALLOWED}"])
    if driver == "sqlite" and url.database in (None, "", ":memory:"):
        raise SettingsError(["DATABASE_URL has no file; allowed: sqlite:///path (four slashes: an absolute path)"])
    return url.set(drivername=driver)


def check_options(url: URL) -> None:
    """Raise `SettingsError` for an option of a URL that the driver does not accept; nothing connects."""
    check = _check_sqlite if url.get_backend_name() == "sqlite" else _check_postgres
    for name, value in url.query.items():
        try:
            check(url, name, value)
        except (TypeError, ValueError, OverflowError, SAWarning, sqlite3.Error) as error:
            reason = " ".join(str(error).partition(" (Background")[0].split())
            raise SettingsError([f"DATABASE_URL has an invalid option {name[:80]!r}: {reason[:300]}"]) from error


def _check_sqlite(url: URL, name: str, value: str | tuple[str, ...]) -> None:
    # SQLite checks the options of a file URI only when it opens the file.
    query = {name: value} | ({"uri": "true"} if "uri" in url.query else {})
    with warnings.catch_warnings():
        # Unknown options are ignored with a warning: turn it into an error.
        warnings.simplefilter("error", SAWarning)
        _, options = url.get_dialect()().create_connect_args(url.set(query=query))
    options.pop("uri", None)
    sqlite3.connect(":memory:", **options).close()


def _check_postgres(url: URL, name: str, value: str | tuple[str, ...]) -> None:
    # Imported here: PostgreSQL's driver is an extra.
    import psycopg
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo("", **{name: value if isinstance(value, str) else ",".join(value)})
    except psycopg.Error as error:
        raise ValueError(str(error)) from error
