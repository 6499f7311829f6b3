"""The host and the database: the schema's state, and free space on the disks."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import NomadError, SettingsError, Unavailable, Unusable
from ..findings import Finding, Severity
from ..logs import redact
from ..logs.counted import counted
from ..settings.secret_url import SecretUrl
from ..store.database import Database
from ..store.invalid_rows import invalid_rows
from ..store.migrate import Schema
from ..store.set_aside import SetAsideRows, latest_reason, set_aside_now
from .installation import Installation

#: A person waits for the doctor, which has many other checks to run.
WAIT_MS = 1_000


def database(installation: Installation) -> Iterator[Finding]:
    """Report whether the database answers and has this release's schema. Nothing is created or migrated."""
    where = installation.settings.database_url.shown
    if installation.database is not None:
        where = SecretUrl(installation.database.url.render_as_string(hide_password=False)).shown
    try:
        database = installation.database or Database(installation.settings.database_url, wait_ms=WAIT_MS)
    except SettingsError as error:
        yield Finding("database", Severity.PROBLEM, str(error), "export DATABASE_URL=sqlite:///var/nomad.db")
        return
    try:
        # A database that this process has used is not one that was never created.
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
    """Report rows that were edited by hand. It reads all rows, so the polled health endpoint skips it."""
    if installation.database is not None:
        return
    with current_database(installation) as database:
        if database is None or not database.is_sqlite:
            return
        if found := invalid_rows(database):
            cause = f"these rows have values that do not fit their columns and are left out: {', '.join(found)}"
            fix = "correct or delete them; they were edited by hand"
            yield Finding("database rows", Severity.WARNING, redact(cause), fix)


def set_aside(installation: Installation) -> Iterator[Finding]:
    """Report rows of ESI's responses that could not be stored."""
    if installation.database is not None:
        # It reads all rows, so the polled health endpoint skips it.
        return
    with current_database(installation) as database:
        for each in set_aside_now(database) if database else ():
            if database and each.rows:
                yield _set_aside(each, latest_reason(database, each.route))


def _set_aside(found: SetAsideRows, reason: str | None) -> Finding:
    name = f"rows set aside {found.route}"
    rows, of = counted(found.rows, "row"), counted(found.characters, "character")
    cause = f"{rows} from ESI of {of} could not be stored; the latest reason: {reason}"
    fix = (
        "nothing is lost: all other rows are stored, and these are in the table set_aside_rows (reason, row_json); "
        "they leave this count when ESI sends them correctly; if they stay, install the newest release"
    )
    return Finding(name, Severity.WARNING, cause, fix, subject=found.route)


@contextlib.contextmanager
def current_database(installation: Installation) -> Iterator[Database | None]:
    """Yield the open database, or one for the time of a check; None if it would have to be created or migrated."""
    if installation.database is not None:
        yield installation.database
        return
    with contextlib.closing(Database(installation.settings.database_url, wait_ms=WAIT_MS)) as database:
        exists = not database.is_sqlite or _exists(Path(database.url.database or ""))
        yield database if exists and database.schema().is_current else None


def _missing(where: str, database: Database, installation: Installation) -> Finding | None:
    path = Path(database.url.database or "")
    if not database.is_sqlite or _exists(path):
        return None
    found, directory = f"{where} does not exist (as seen from {Path.cwd()})", _existing(path)
    if not directory.is_dir():
        fix = "correct DATABASE_URL, or restore the directory"
        found = f"{found} and cannot be created: {directory} is not a directory"
        return Finding("database", Severity.PROBLEM, found, fix)
    if _has_workers(installation):
        fix = "restore the file with its -wal and -shm; restart nothing before: running programs may still have it open"
        return Finding("database", Severity.WARNING, f"{found}, but there are live workers that may use it", fix)
    return Finding(
        "database", Severity.WARNING, found, "start a program that uses it (nomad run workers): it creates the file"
    )


def _has_workers(installation: Installation) -> bool:
    # If Redis cannot be read, another check reports it.
    with contextlib.suppress(NomadError):
        return any(queue.workers for queue in installation.readable)
    return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # We have no permission to look; opening it reports that.
        return True


def _schema(where: str, schema: Schema) -> Finding:
    if schema.is_current:
        return Finding("database", Severity.OK, f"{where} has schema {schema.found}")
    if schema.is_too_new:
        found = f"{where} has schema {schema.found} of a newer release (this release has {schema.head})"
        return Finding("database", Severity.PROBLEM, found, "start that release here too")
    found = f"{where} has schema {schema.found or '(none)'}; this release has {schema.head}"
    return Finding("database", Severity.WARNING, found, "restart the workers: they migrate it")


def disk(installation: Installation) -> Iterator[Finding]:
    """Report the free space where we write."""
    directories = {"var_dir": installation.settings.var_dir}
    if installation.settings.database_url.startswith("sqlite:///"):
        directories["database"] = Path(installation.settings.database_url.removeprefix("sqlite:///")).parent
    devices: dict[int, tuple[str, Path]] = {}
    for what, path in directories.items():
        try:
            existing = _existing(path)
            devices.setdefault(existing.stat().st_dev, (what, existing))
        except OSError as error:
            yield Finding("disk", Severity.UNKNOWN, f"{path} ({what}) cannot be read: {error}")
    for what, path in devices.values():
        yield _free_space(what, path, installation)


def _free_space(what: str, path: Path, installation: Installation) -> Finding:
    usage = shutil.disk_usage(path)
    found = f"{_size(usage.free)} of {_size(usage.total)} free at {path} ({what})"
    if usage.free >= installation.limits.disk_warning_bytes:
        return Finding("disk", Severity.OK, found)
    status = Severity.PROBLEM if usage.free < installation.limits.disk_problem_bytes else Severity.WARNING
    return Finding("disk", status, found, f"free space: du -xh {path} | sort -h | tail")


def _size(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB" if size < 1 << 30 else f"{size / (1 << 30):.1f} GiB"


def _existing(path: Path) -> Path:
    """Return `path` or its nearest ancestor that exists."""
    found = path.absolute()
    while not found.exists():
        found = found.parent
    return found
