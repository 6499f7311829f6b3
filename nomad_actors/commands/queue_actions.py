"""`nomad pause`, `resume` and `clean`: what an operator does to a whole queue."""

from __future__ import annotations

from typing import Annotated

import typer

from . import pausing
from .options import Json, Yes, confirm
from .report import duration, parse_duration, print_json
from .session import opened, who

QueueName = Annotated[str, typer.Argument(metavar="QUEUE")]


def pause(
    queue: QueueName,
    reason: Annotated[str, typer.Option(help="Why; whoever finds it paused will read it.")] = "",
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Ends by itself, as 30m or 2h.")] = None,
    json: Json = False,
) -> None:
    """Let no job of a queue start, in any process, until it is resumed; running ones finish."""
    for_ms = None if for_ is None else parse_duration(for_, "--for")
    with opened() as access:
        found = access.queues.get_queue(queue)
        pausing.pause(found, reason=reason, by=who(), for_ms=for_ms)
        counts = found.counts()
    if json:
        print_json({"success": True, "queueName": queue, "status": "paused"})
        return
    until = f"for {duration(for_ms)}" if for_ms else f"until: nomad resume {queue}"
    typer.echo(f"{queue} is paused {until}; {counts['paused']} jobs wait, {counts['active']} still run")


def resume(queue: QueueName, json: Json = False) -> None:
    """Let jobs of a paused queue start again."""
    with opened() as access:
        found = access.queues.get_queue(queue)
        found.resume()
        waiting = found.counts()["waiting"]
    if json:
        print_json({"success": True, "queueName": queue, "status": "running"})
    else:
        typer.echo(f"{queue} runs; {waiting} jobs wait")


def clean(
    queue: QueueName,
    status: Annotated[str, typer.Option("--status", "-s", help="completed, failed, delayed, waiting or paused.")] = (
        "completed"
    ),
    grace: Annotated[str, typer.Option(metavar="AGE", help="Only what ended (else was added) before that.")] = "1h",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000)] = 1000,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Remove a queue's old jobs of one state, oldest first."""
    grace_ms = parse_duration(grace, "--grace")
    with opened() as access:
        found = access.queues.get_queue(queue)
        count = found.counts().get(status, 0)
        confirm(f"Remove up to {min(limit, count)} {status} jobs of {queue} older than {grace}?", yes=yes)
        removed = found.clean(grace_ms, status, limit)
    if json:
        print_json({"success": True, "queueName": queue, "status": status, "removed": len(removed)})
    else:
        typer.echo(f"{len(removed)} {status} jobs of {queue} are removed")
