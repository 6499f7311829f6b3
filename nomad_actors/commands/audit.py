"""`nomad audit`: who changed what, through the admin or with a command, and what the admin refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Unavailable
from .audited import opened_database
from .options import Json
from .report import NONE, console, moment, now_ms, parse_duration, print_json, say, styled, table
from .session import settings

if TYPE_CHECKING:
    from rich.text import Text

    from ..store import AuditEntry

MAX_LIMIT = 1_000
#: Of the part of a path that a row begins with; a refused request may have asked for anything.
_WORD_CHARS = 24


def audit(
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="What was done in this queue.")] = None,
    job: Annotated[str | None, typer.Option(help="What was done to the job with this id.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="A path of the API, or how it ends: retry finds every way to retry.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="What this token, or user of the command, did.")] = None,
    since: Annotated[str | None, typer.Option(help="No longer ago than this, as 30m, 2h or 1d.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MAX_LIMIT, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """Show the audit log, newest first."""
    from ..clock import SystemClock
    from ..store import Audit

    since_ms = None if since is None else int(now_ms()) - parse_duration(since, "--since")
    with opened_database(settings()) as (database, why):
        if database is None:
            raise Unavailable(f"the audit log cannot be read: {why}")
        found, cursor = Audit(database, clock=SystemClock()).read(
            limit, actor=actor, endpoint=endpoint, queue=queue, job_id=job, since_ms=since_ms
        )
    if json:
        print_json({"entries": [entry.as_json() for entry in found], "nextCursor": cursor and str(cursor)})
        return
    if not found:
        say("no entry fits" if any((queue, job, endpoint, actor, since)) else "the audit log is empty")
        return
    console().print(table(["WHEN", "WHAT", "TARGET", "STATUS", "WHO", "FROM", "DETAILS"], map(_row, found)))


def _row(entry: AuditEntry) -> list[Text | str]:
    status = "end unknown" if entry.status is None else f"{entry.status}"
    target = " ".join(name for name in (entry.queue, entry.job_id, entry.schedule) if name)
    path = f"{entry.method} {entry.endpoint or entry.path}"
    details = [word for word in (entry.reason and f"refused: {entry.reason}", entry.error, entry.body, path) if word]
    return [
        moment(entry.at_ms),
        f"{entry.method} {_last_word(entry.endpoint or entry.path)}",
        target or NONE,
        styled(status, "red" if entry.status is None or entry.status >= 400 else ""),
        entry.actor or "unknown",
        entry.peer,
        "; ".join(details),
    ]


def _last_word(path: str) -> str:
    """Return what a path does or is about: its last part that is no parameter."""
    words = [part for part in path.split("/") if part and part[0] not in "{<"]
    return words[-1][:_WORD_CHARS] if words else path[:_WORD_CHARS]
