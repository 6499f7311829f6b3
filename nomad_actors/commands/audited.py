"""Records changes by commands in the admin's audit log, as the API request that would make the same change.

The entry is written before the change, and completed with its outcome. Commands work without the database, since they
are needed most when it is down: then they warn that the change is not in the log. They never create or migrate the
database.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..clock import SystemClock
from ..errors import NomadError, Unavailable
from ..logs import redact
from ..logs.foreign_text import came_from_outside, describe_error
from ..logs.json_text import shortened_body
from .report import print_line
from .session import who

if TYPE_CHECKING:
    from ..settings import Settings
    from ..store import Audit
    from ..store.database import Database

#: How long a command waits to connect to the database, and then for other writers.
WAIT_MS = 1_000

#: By the part of a path before a parameter: the parameter's column in the audit log ('' for none), and placeholder.
_PARAMETERS = {
    "queues": ("queue", "{queue}"),
    "jobs": ("job_id", "{jobId}"),
    "bulk": ("", "{operation}"),
    "brakes": ("", "{brake}"),
    "scheduler": ("schedule", "{name}"),
    "characters": ("", "{characterId}"),
}


@contextlib.contextmanager
def audited(settings: Settings, method: str, *path: str, body: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Record the change that a `with` block makes, as an API request.

    `path` contains the parts of the request's path after `/admin/jobs/`.
    """
    from ..store import Audit

    with open_database(settings) as (database, why):
        if database is None:
            _warn(f"this change is not in the audit log: {why}")
        audit = None if database is None else Audit(database, clock=SystemClock())
        entry = None if audit is None else _record_request(audit, method, path, body)
        try:
            yield
        except NomadError as error:
            _record_outcome(audit, entry, error.http_status.value, str(error))
            raise
        except BaseException as error:
            # After Ctrl-C the outcome is unknown; after any other exception the change has failed.
            if not (issubclass(type(error), KeyboardInterrupt) or came_from_outside(error)):
                _record_outcome(audit, entry, 500, describe_error(error, 500))
            raise
        _record_outcome(audit, entry, 200, None)


@contextlib.contextmanager
def open_database(settings: Settings, *, wait_ms: int | None = WAIT_MS) -> Iterator[tuple[Database | None, str]]:
    """Open the database for a `with` block; None, and why, if it does not exist or respond, or has another schema.

    `wait_ms` is that of `Database`.
    """
    from ..store.database import Database

    database, why = None, ""
    try:
        database = Database(settings.database_url, wait_ms=wait_ms)
        why = database.why_not_ready() or ""
    except NomadError as error:
        why = str(error)
    try:
        yield (None if why else database), why
    finally:
        if database is not None:
            database.close()


@contextlib.contextmanager
def existing_database(settings: Settings, *, wait_ms: int | None = WAIT_MS) -> Iterator[Database]:
    """Open the database for a `with` block; raises `Unavailable` where `open_database` yields None."""
    with open_database(settings, wait_ms=wait_ms) as (database, why):
        if database is None:
            raise Unavailable(why)
        yield database


def _record_request(audit: Audit, method: str, path: tuple[str, ...], body: Mapping[str, Any] | None) -> int | None:
    """Record a change before it is made; return the entry's id, or None, with a warning, if it cannot be written."""
    from ..store import AuditedRequest

    request = AuditedRequest(
        request_id=secrets.token_hex(16),
        actor=who(),
        role="operator",
        peer=f"cli@{socket.gethostname()}",
        source="cli",
        method=method,
        path="/admin/jobs/" + "/".join(quote(part, safe=":", errors="replace") for part in path),
        **_path_facts(path),
        body=None if body is None else shortened_body(body),
    )
    try:
        return audit.asked(request)
    except NomadError as error:
        _warn(f"this change is not in the audit log: {error}")
        return None


def _path_facts(path: tuple[str, ...]) -> dict[str, Any]:
    """Return the endpoint, and the queue, job or schedule that the path names."""
    columns, pattern, parts = {}, ["/admin/jobs"], iter(path)
    for part in parts:
        pattern.append(part)
        if part in _PARAMETERS and (value := next(parts, None)) is not None:
            column, parameter = _PARAMETERS[part]
            columns[column] = value
            pattern.append(parameter)
    columns.pop("", None)
    return {"endpoint": "/".join(pattern), **columns}


def _record_outcome(audit: Audit | None, entry: int | None, status: int, error: str | None) -> None:
    if audit is None or entry is None:
        return
    try:
        audit.outcome(entry, status, error)
    except NomadError as reason:
        _warn(f"the outcome of this change is not in the audit log: {reason}")


def _warn(text: str) -> None:
    print_line(f"nomad: warning: {' '.join(redact(text).split())}", err=True)
