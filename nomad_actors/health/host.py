"""This host and the database: the schema's state, and room on the disks."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import NomadError, SettingsError, Unavailable, Unusable
from ..findings import Finding, Severity
from ..logs import redact
from ..settings.secret_url import SecretUrl
from ..store.database import Database
from ..store.invalid_rows import invalid_rows
from ..store.migrate import Schema
from .installation import Installation

#: Somebody waits for the doctor, who asks much else.
WAIT_MS = 1_000


def database(installation: Installation) -> Iterator[Finding]:
    """Tell whether the database answers and has this release's schema; nothing is made or migrated for it."""
    where = installation.settings.database_url.shown
    if installation.database is not None:
        where = SecretUrl(installation.database.url.render_as_string(hide_password=False)).shown
    try:
        database = installation.database or Database(installation.settings.database_url, wait_ms=WAIT_MS)
    except SettingsError as error:
        yield Finding("database", Severity.PROBLEM, str(error), "export DATABASE_URL=sqlite:///var/nomad.db")
        return
    try:
        # One that was used here cannot be missing for want of a first use.
        if not database.was_used and (missing := _missing(where, database, installation)):
            yield missing
            return
        yield _schema(where, database.schema())
    except Unusable as error:
        yield Finding("database", Severity.PROBLEM, redact(error.found), error.fix)
    except Unavailable as error:
        fix = "start the database, or correct DATABASE_URL"
        yield Finding("database", Severity.PROBLEM, f"{where}: {redact(str(error))}", fix)
    finally:
        if installation.database is None:
            database.close()


def rows(installation: Installation) -> Iterator[Finding]:
    """Tell which rows another hand changed, where it is asked once: all are read, too much for a polled health."""
    if installation.database is not None:
        return
    with contextlib.closing(Database(installation.settings.database_url, wait_ms=WAIT_MS)) as database:
        if not database.is_sqlite or not _exists(Path(database.url.database or "")) or not database.schema().is_current:
            return
        if found := invalid_rows(database):
            yield Finding(
                "database rows",
                Severity.WARNING,
                redact(f"values that do not fit their columns, so that these rows are left out: {', '.join(found)}"),
                "correct or delete them; whoever wrote to the database by hand knows which",
            )


def _missing(where: str, database: Database, installation: Installation) -> Finding | None:
    path = Path(database.url.database or "")
    if not database.is_sqlite or _exists(path):
        return None
    found, directory = f"{where} does not exist (as seen from {Path.cwd()})", _existing(path)
    if not directory.is_dir():
        fix = "correct DATABASE_URL, or put the directory back"
        return Finding("database", Severity.PROBLEM, f"{found} and cannot be made: {directory} is no directory", fix)
    if _has_workers(installation):
        fix = "put the file back with -wal and -shm, and restart nothing before: what runs may still have it open"
        return Finding("database", Severity.WARNING, f"{found}, though workers live that may use it", fix)
    return Finding(
        "database", Severity.WARNING, found, "start a part that uses it (nomad run workers): it makes the file"
    )


def _has_workers(installation: Installation) -> bool:
    """Return whether a worker lives; one that cannot be asked for says so in another check."""
    with contextlib.suppress(NomadError):
        return any(queue.workers for queue in installation.readable)
    return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # One that we may not look at; whoever opens it says so.
        return True


def _schema(where: str, schema: Schema) -> Finding:
    if schema.is_current:
        return Finding("database", Severity.OK, f"{where} has schema {schema.found}")
    if schema.is_too_new:
        found = f"{where} has schema {schema.found}, which a newer release made (this one's is {schema.head})"
        return Finding("database", Severity.PROBLEM, found, "start that release here too")
    found = f"{where} has schema {schema.found or '(none)'}, this release's is {schema.head}"
    return Finding("database", Severity.WARNING, found, "restart the workers: they migrate it")


def disk(installation: Installation) -> Iterator[Finding]:
    """Tell how much room is left where we write."""
    places = {"var_dir": installation.settings.var_dir}
    if installation.settings.database_url.startswith("sqlite:///"):
        places["database"] = Path(installation.settings.database_url.removeprefix("sqlite:///")).parent
    devices: dict[int, tuple[str, Path]] = {}
    for what, path in places.items():
        try:
            there = _existing(path)
            devices.setdefault(there.stat().st_dev, (what, there))
        except OSError as error:
            yield Finding("disk", Severity.UNKNOWN, f"{path} ({what}) cannot be looked at: {error}")
    for what, path in devices.values():
        yield _room(what, path, installation)


def _room(what: str, path: Path, installation: Installation) -> Finding:
    usage = shutil.disk_usage(path)
    found = f"{_size(usage.free)} of {_size(usage.total)} free at {path} ({what})"
    if usage.free >= installation.limits.disk_warning_bytes:
        return Finding("disk", Severity.OK, found)
    status = Severity.PROBLEM if usage.free < installation.limits.disk_problem_bytes else Severity.WARNING
    return Finding("disk", status, found, f"make room: du -xh {path} | sort -h | tail")


def _size(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB" if size < 1 << 30 else f"{size / (1 << 30):.1f} GiB"


def _existing(path: Path) -> Path:
    """Return `path` or the nearest directory above it that exists: it would be made there."""
    found = path.absolute()
    while not found.exists():
        found = found.parent
    return found
