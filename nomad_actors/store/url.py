"""The database's URL: which databases there are, and options that their drivers know."""

from __future__ import annotations

import sqlite3
import warnings

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SAWarning

from ..errors import SettingsError

ACCEPTED = "accepted: sqlite:///path or postgresql://…"
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def parse(text: str) -> URL:
    """Return the URL of a database that this code can use.

    Raises `SettingsError` naming what is wrong; never with the password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise SettingsError([f"DATABASE_URL is no URL; {ACCEPTED}"]) from error
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise SettingsError([f"DATABASE_URL is of {url.drivername[:80]!r}, which is not supported; {ACCEPTED}"])
    if driver == "sqlite" and url.database in (None, "", ":memory:"):
        raise SettingsError(["DATABASE_URL names no file; accepted: sqlite:///path (four slashes: an absolute path)"])
    return url.set(drivername=driver)


def check_options(url: URL) -> None:
    """Return if the driver knows every option of a URL; nothing connects.

    Raises `SettingsError` naming the option and what the driver has against it.
    """
    check = _check_sqlite if url.get_backend_name() == "sqlite" else _check_postgres
    for name, value in url.query.items():
        try:
            check(url, name, value)
        except (TypeError, ValueError, OverflowError, SAWarning, sqlite3.Error) as error:
            words = " ".join(str(error).partition(" (Background")[0].split())
            raise SettingsError([f"DATABASE_URL has an unusable option {name[:80]!r}: {words[:300]}"]) from error


def _check_sqlite(url: URL, name: str, value: str | tuple[str, ...]) -> None:
    # What only a file's URI may say, SQLite itself judges when it opens the file.
    query = {name: value} | ({"uri": "true"} if "uri" in url.query else {})
    with warnings.catch_warnings():
        # An option that nobody knows is ignored with a warning.
        warnings.simplefilter("error", SAWarning)
        _, options = url.get_dialect()().create_connect_args(url.set(query=query))
    options.pop("uri", None)
    sqlite3.connect(":memory:", **options).close()


def _check_postgres(url: URL, name: str, value: str | tuple[str, ...]) -> None:
    # Here, not above: PostgreSQL's driver is an extra.
    import psycopg
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo("", **{name: value if isinstance(value, str) else ",".join(value)})
    except psycopg.Error as error:
        raise ValueError(str(error)) from error
