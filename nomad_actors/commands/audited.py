"""What is changed with the command stands in the admin's audit log, as if the API had been asked for it.

It is written before it acts and again with its end. A command must work while the database is away, for that is when it
is needed most: then it says aloud that the log does not know of it. The database is not made or migrated for it.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import NomadError
from ..logs import redact
from ..logs.audit_body import body_in_short
from ..logs.foreign_text import came_from_outside, describe_error
from .exits import ExitCode, exit_code_of
from .report import say
from .session import who

if TYPE_CHECKING:
    from ..app import QueueAccess
    from ..clock import Clock
    from ..settings import Settings
    from ..store import Audit
    from ..store.database import Database

#: How long a command waits for the database, and then for those that write to it.
WAIT_MS = 1_000

#: The word before a parameter of a path, the audit log's column for it ('' for none), and the pattern's word.
_PARAMETERS = {
    "queues": ("queue", "{queue}"),
    "jobs": ("job_id", "{jobId}"),
    "bulk": ("", "{operation}"),
    "scheduler": ("schedule", "{name}"),
}

_STATUS = {ExitCode.NOT_FOUND: 404, ExitCode.WRONG_STATE: 409, ExitCode.USAGE: 422, ExitCode.UNAVAILABLE: 503}


@contextlib.contextmanager
def audited(access: QueueAccess, method: str, *path: str, body: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Write down a change, told as the API's request that would make it, around what makes it.

    `path` is what follows `/admin/jobs/`, part by part.
    """
    with audited_on(access.settings, access.clock, method, *path, body=body):
        yield


@contextlib.contextmanager
def audited_on(
    settings: Settings, clock: Clock, method: str, *path: str, body: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Do what `audited` does, where nothing needs Redis."""
    with contextlib.ExitStack() as stack:
        audit = stack.enter_context(_opened(settings, clock))
        entry = None if audit is None else asked(audit, method, path, body)
        try:
            yield
        except NomadError as error:
            ended(audit, entry, _STATUS.get(exit_code_of(error), 500), str(error))
            raise
        except BaseException as error:
            # After a Ctrl-C nobody knows how it ended; after anything else, that it failed.
            if not (issubclass(type(error), KeyboardInterrupt) or came_from_outside(error)):
                ended(audit, entry, 500, describe_error(error, 500))
            raise
        ended(audit, entry, 200, None)


@contextlib.contextmanager
def _opened(settings: Settings, clock: Clock) -> Iterator[Audit | None]:
    """Give the audit log; None, with a word on standard error, where it cannot be written."""
    with opened_database(settings) as (database, why):
        if database is None:
            _warn(f"this is not in the audit log: {why}")
            yield None
            return
        from ..store import Audit

        yield Audit(database, clock=clock)


@contextlib.contextmanager
def opened_database(settings: Settings) -> Iterator[tuple[Database | None, str]]:
    """Give the database of a `with`; None, and why, where it is not there, does not answer or has another schema."""
    from ..store.database import Database

    database, why = None, ""
    try:
        database = Database(settings.database_url, wait_ms=WAIT_MS)
        if database.is_sqlite and not Path(database.url.database or "").exists():
            why = f"{database.url.database} does not exist, as seen from {Path.cwd()}"
        elif not (schema := database.schema()).is_current:
            why = f"the database has schema {schema.found or '(none)'}, this release's is {schema.head}"
    except NomadError as error:
        why = str(error)
    try:
        yield (None if why else database), why
    finally:
        if database is not None:
            database.close()


def asked(audit: Audit, method: str, path: tuple[str, ...], body: Mapping[str, Any] | None) -> int | None:
    """Write down a change before it acts; return its entry's id, or None, with a warning, if it cannot be written."""
    from ..store import AuditedRequest

    request = AuditedRequest(
        request_id=secrets.token_hex(16),
        actor=who(),
        role="operator",
        peer=f"cli@{socket.gethostname()}",
        source="cli",
        method=method,
        path="/admin/jobs/" + "/".join(quote(part, safe=":", errors="replace") for part in path),
        **_named(path),
        body=None if body is None else body_in_short(body),
    )
    try:
        return audit.asked(request)
    except NomadError as error:
        _warn(f"this is not in the audit log: {error}")
        return None


def _named(path: tuple[str, ...]) -> dict[str, Any]:
    """Return the endpoint, and what its path names."""
    named, pattern, parts = {}, ["/admin/jobs"], iter(path)
    for part in parts:
        pattern.append(part)
        if part in _PARAMETERS and (value := next(parts, None)) is not None:
            column, parameter = _PARAMETERS[part]
            named[column] = value
            pattern.append(parameter)
    named.pop("", None)
    return {"endpoint": "/".join(pattern), **named}


def ended(audit: Audit | None, entry: int | None, status: int, error: str | None) -> None:
    """Write down how a change ended."""
    if audit is None or entry is None:
        return
    try:
        audit.outcome(entry, status, error)
    except NomadError as reason:
        _warn(f"how this ended is not in the audit log: {reason}")


def _warn(text: str) -> None:
    say(f"nomad: warning: {' '.join(redact(text).split())}", err=True)
