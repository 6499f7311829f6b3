"""The audit log: every change requested from the admin, by whom and with what outcome, and every refused request.

A change is logged before it runs and completed afterwards, so that it is still here, without an outcome, if its process
dies. Refusals have their own limit: a flood of them neither grows the table without end nor displaces changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.engine import Connection, Row

from ..clock import Clock
from ..response_model import ResponseModel
from .database import Database
from .invalid_rows import MAX_MS, fits
from .schema import audit_log

#: Retention: by number of changes and of refusals, and by age.
KEEP_CHANGES = 100_000
KEEP_REFUSALS = 20_000
KEEP_MS = 400 * 86_400_000
#: Most old rows that one write removes: more than it adds, but still a short transaction.
STEP_ROWS = 50

#: Most refusals written within `REFUSALS_MS`: of one source for one reason, and of all sources.
REFUSALS_MS = 600_000
REFUSALS_PER_REASON = 50
REFUSALS_IN_ALL = 1000

#: For a path, a shortened body and an error.
MAX_TEXT_CHARS = 2000


@dataclass(frozen=True, kw_only=True)
class AuditedRequest:
    """Who requested what; attempts are counted per `source`."""

    request_id: str
    actor: str
    role: str
    peer: str
    source: str
    method: str
    path: str
    #: The path's pattern, as the OpenAPI document has it: `/admin/jobs/queues/{queue}/jobs/{jobId}/retry`.
    endpoint: str | None = None
    queue: str | None = None
    job_id: str | None = None
    schedule: str | None = None
    body: str | None = None
    #: Length and SHA-256 (hex) of the body as received.
    body_bytes: int | None = None
    body_sha256: str | None = None


class AuditEntry(ResponseModel):
    """A requested change, or a refused request."""

    id: str
    at_ms: int = Field(alias="at", description="ms since the epoch")
    request_id: str
    actor: str
    role: str
    peer: str
    method: str
    path: str
    endpoint: str | None = Field(description="the path's pattern; null if no endpoint has the path, and in old entries")
    queue: str | None = Field(alias="queueName")
    job_id: str | None
    schedule: str | None = Field(alias="scheduleName")
    body: str | None = Field(description="shortened, without secrets")
    body_bytes: int | None = Field(alias="bodyLength", description="size of the received body in bytes")
    body_sha256: str | None = Field(description="hash of the received body in hex")
    reason: str | None = Field(alias="refused", description="the reason of a refusal, in a word; null for a change")
    ended_ms: int | None = Field(alias="endedAt", description="ms since the epoch; null if the result is unknown")
    status: int | None
    error: str | None


class Audit:
    """The audit log in `database`."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def asked(self, request: AuditedRequest) -> int:
        """Log a change before it runs; return the entry's id for `outcome`.

        Raises `Unavailable`; then the change must not run.
        """
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            entry_id = _insert(connection, request, now_ms, refused=False)
            _remove_old(connection, now_ms, refused=False, most=KEEP_CHANGES)
        return entry_id

    def outcome(self, entry_id: int, status: int, error: str | None = None) -> None:
        """Log the outcome of a change: its HTTP status, and the error if there was one. Raises `Unavailable`."""
        ended = {"ended_ms": self._clock.now_ms(), "status": status, "error": _clean("error", error)}
        with self._database.write() as connection:
            connection.execute(sa.update(audit_log).filter_by(entry_id=entry_id).values(ended))

    def refused(
        self, request: AuditedRequest, status: int, reason: str, error: str, *, is_counted: bool = False
    ) -> bool:
        """Log a refusal unless there were too many recently, from its source for this reason or from all sources.

        A refusal that `is_counted` is one that `refusals_ms` returns: only refusals for the same reason count against
        it, and one with the same `error` is not logged again. Returns whether it was written. Raises `Unavailable`.
        """
        now_ms = self._clock.now_ms()
        recent = sa.select(audit_log.c.entry_id).where(
            audit_log.c.at_ms > now_ms - REFUSALS_MS, audit_log.c.refused.is_(True)
        )
        similar = recent.filter_by(source=request.source, reason=reason)
        bounds = [
            (similar, REFUSALS_PER_REASON),
            (recent.filter_by(reason=reason) if is_counted else recent, REFUSALS_IN_ALL),
        ]
        if is_counted:
            bounds.append((similar.filter_by(error=_clean("error", error)), 1))
        with self._database.read() as connection:
            if any(_has_at_least(connection, query, limit) for query, limit in bounds):
                return False
        ended = {"reason": reason, "ended_ms": now_ms, "status": status, "error": _clean("error", error)}
        with self._database.write() as connection:
            _insert(connection, request, now_ms, refused=True, **ended)
            _remove_old(connection, now_ms, refused=True, most=KEEP_REFUSALS)
        return True

    def refusals_ms(self, source: str, reason: str, since_ms: int, limit: int) -> list[int]:
        """Return the last times (epoch ms) when a source was refused for a reason, newest first, at most `limit`.

        Refusals with the same `error` count once: several may have been written at the same time. Raises `Unavailable`.
        """
        last_ms = sa.func.max(audit_log.c.at_ms)
        query = (
            sa.select(last_ms)
            .where(audit_log.c.source == source, audit_log.c.reason == reason, audit_log.c.at_ms > since_ms)
            .group_by(audit_log.c.error)
            .order_by(last_ms.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def read(
        self,
        limit: int,
        cursor: int | None = None,
        *,
        actor: str | None = None,
        endpoint: str | None = None,
        queue: str | None = None,
        job_id: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> tuple[list[AuditEntry], int | None]:
        """Return up to `limit` entries, newest first, and the cursor of the next page (None after the last).

        `endpoint` is an endpoint or its end: `retry` finds retries from the API, the pages and the command line.
        `since_ms` is inclusive, `until_ms` is exclusive. Raises `Unavailable`.
        """
        column = audit_log.c
        is_valid = fits(self._database, audit_log).label("is_valid")
        query = sa.select(audit_log, is_valid).order_by(column.entry_id.desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(column.entry_id < cursor)
        for name, value in (("actor", actor), ("queue", queue), ("job_id", job_id)):
            if value is not None:
                query = query.filter_by(**{name: _clean(name, value)})
        if endpoint is not None:
            suffix = "/" + (_clean("endpoint", endpoint) or "").lstrip("/")
            query = query.where(column.endpoint.endswith(suffix, autoescape=True))
        if since_ms is not None:
            query = query.where(column.at_ms >= since_ms)
        if until_ms is not None:
            query = query.where(column.at_ms < until_ms)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        entries = [_entry(row) for row in rows[:limit]]
        return entries, rows[limit - 1].entry_id if len(rows) > limit else None


def _insert(connection: Connection, request: AuditedRequest, at_ms: int, *, refused: bool, **ended: object) -> int:
    values = {name: _clean(name, value) if isinstance(value, str) else value for name, value in vars(request).items()}
    inserted = connection.execute(sa.insert(audit_log).values(values | {"at_ms": at_ms, "refused": refused} | ended))
    key = inserted.inserted_primary_key
    assert key is not None
    return int(key[0])


def _has_at_least(connection: Connection, query: sa.Select[int], count: int) -> bool:
    found = connection.scalar(sa.select(sa.func.count()).select_from(query.limit(count).subquery()))
    return (found or 0) >= count


def _remove_old(connection: Connection, now_ms: int, *, refused: bool, most: int) -> None:
    """Remove a few rows that exceed the retention of their kind, by age or by number."""
    column = audit_log.c
    kind = sa.select(column.entry_id).where(column.refused.is_(refused))
    newest_surplus_id = connection.scalar(kind.order_by(column.entry_id.desc()).limit(1).offset(most))
    for is_old in (column.at_ms < now_ms - KEEP_MS, column.entry_id <= (newest_surplus_id or 0)):
        oldest = kind.where(is_old).order_by(column.entry_id).limit(STEP_ROWS)
        connection.execute(sa.delete(audit_log).where(column.entry_id.in_(oldest)))


def _clean(column: str, text: str | None) -> str | None:
    """Return text that both databases can store: PostgreSQL accepts no NUL, and neither accepts a lone surrogate.

    A text that is too long is cut in the middle: the last word of a path says what was done.
    """
    if text is None:
        return None
    text = text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()
    max_chars = getattr(audit_log.c[column].type, "length", None) or MAX_TEXT_CHARS
    if len(text) <= max_chars:
        return text
    end = max_chars // 4
    return f"{text[: max_chars - end - 1]}…{text[-end:]}"


def _entry(row: Row[tuple[object, ...]]) -> AuditEntry:
    values: dict[str, Any] = dict(row._mapping)
    if not values.pop("is_valid"):
        values |= {name: _readable(name, value) for name, value in values.items()}
        values["error"] = f"another program changed this row; only readable values are shown; {values['error'] or ''}"
    # In JSON `refused` is the reason.
    del values["refused"]
    return AuditEntry.model_construct(**values, id=str(values["entry_id"]))


def _readable(name: str, value: object) -> object:
    """Return a value that may not fit its column in a form that can be shown."""
    kind = audit_log.c[name].type
    if value is None or isinstance(kind, sa.Boolean):
        return value
    if isinstance(kind, sa.Integer):
        fallback = 0 if name == "at_ms" else None
        return value if isinstance(value, int) and (name == "entry_id" or 0 <= value <= MAX_MS) else fallback
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
