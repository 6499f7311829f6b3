"""`nomad audit`: show who changed what, in the admin or with a command, and what the admin refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ..clock import SystemClock
from ..errors import Unavailable
from .audited import open_database
from .options import Json
from .report import NONE, console, moment, now_ms, parse_duration, print_json, print_line, styled, table
from .session import settings

if TYPE_CHECKING:
    from ..store import AuditEntry

#: The longest action that is shown; the path of a refused request may be anything.
_ACTION_CHARS = 24


def audit(
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Changes in this queue.")] = None,
    job: Annotated[str | None, typer.Option(help="Changes to the job with this id.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="A path of the API, or its end: retry finds every kind of retry.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Changes by this token or this user of the command.")] = None,
    since: Annotated[str | None, typer.Option(help="Within this time, such as 30m, 2h or 1d.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="The largest number of entries.")] = 50,
    json: Json = False,
) -> None:
    """Show the audit log, newest first."""
    from ..store import Audit

    since_ms = None if since is None else int(now_ms()) - parse_duration(since, "--since")
    with open_database(settings()) as (database, why):
        if database is None:
            raise Unavailable(f"the audit log cannot be read: {why}")
        found, cursor = Audit(database, clock=SystemClock()).read(
            limit, actor=actor, endpoint=endpoint, queue=queue, job_id=job, since_ms=since_ms
        )
    if json:
        print_json({"entries": [entry.as_json() for entry in found], "nextCursor": cursor and str(cursor)})
        return
    if not found:
        print_line("No entry matches." if any((queue, job, endpoint, actor, since)) else "The audit log is empty.")
        return
    console().print(table(["WHEN", "WHAT", "TARGET", "STATUS", "WHO", "FROM", "DETAILS"], map(_row, found)))


def _row(entry: AuditEntry) -> list[Text | str]:
    status = "unknown" if entry.status is None else f"{entry.status}"
    target = " ".join(name for name in (entry.queue, entry.job_id, entry.schedule) if name)
    path = f"{entry.method} {entry.endpoint or entry.path}"
    details = (entry.reason and f"refused: {entry.reason}", entry.error, entry.body, path)
    return [
        moment(entry.at_ms),
        f"{entry.method} {_action(entry.endpoint or entry.path)}",
        target or NONE,
        styled(status, "red" if entry.status is None or entry.status >= 400 else ""),
        entry.actor or "unknown",
        entry.peer,
        "; ".join(filter(None, details)),
    ]


def _action(path: str) -> str:
    """Return the action or subject of a path: its last part that is not a parameter."""
    names = [part for part in path.split("/") if part and part[0] not in "{<"]
    return names[-1][:_ACTION_CHARS] if names else path[:_ACTION_CHARS]
