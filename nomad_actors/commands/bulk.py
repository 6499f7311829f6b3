"""`nomad bulk` and `nomad operations`: one action on many jobs, counted first, stopped and gone on with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..logs.counted import agreeing, counted
from .audited import audited
from .options import Json, Yes, confirm, states_of
from .report import ago, console, now_ms, parse_duration, print_json, say, table
from .session import opened, who

if TYPE_CHECKING:
    from ..app import QueueAccess
    from ..queues.bulk import Operation, Runner, Wish

#: How often an operation that another runs is looked at.
_LOOK_SECONDS = 0.5

QueueName = Annotated[str, typer.Argument(metavar="QUEUE")]
OperationId = Annotated[str, typer.Argument(metavar="ID")]
PerSecond = Annotated[int, typer.Option("--per-second", metavar="N", help="At most so many jobs a second.")]

group = typer.Typer(
    help="Show bulk operations, stop one, or let it go on.", no_args_is_help=True, rich_markup_mode=None
)


def bulk(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="retry, remove, promote or cancel.")],
    queue: QueueName,
    status: Annotated[str | None, typer.Option("--status", "-s", help="States with commas between them.")] = None,
    job_type: Annotated[str | None, typer.Option("--type", "-t", metavar="JOBTYPE")] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", "-f", metavar="NAME=VALUE", help="By an indexed field of the data; repeat it."),
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(metavar="HEX", help="Failed for this reason: nomad failures.")
    ] = None,
    older: Annotated[str | None, typer.Option(metavar="AGE", help="Ended, or added, longer ago than this.")] = None,
    per_second: PerSecond = 200,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the jobs that are cancelled.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Retry, remove, promote or cancel many jobs of a queue, in steps; Ctrl-C stops it, and it can go on later."""
    from ..queues.bulk import Wish
    from ..queues.search import JobFilter, parse_fields

    sought = JobFilter(
        states=tuple(states_of(status)),
        job_type=job_type,
        fields=parse_fields(field or []),
        fingerprint=fingerprint,
        until_ms=None if older is None else int(now_ms()) - parse_duration(older, "--older"),
    )
    with opened() as access:
        wish = Wish(action=action, sought=sought, per_second=per_second, by=who(), reason=reason)
        act(access, queue, wish, dry_run=dry_run, yes=yes, json=json)


def act(access: QueueAccess, queue: str, wish: Wish, *, dry_run: bool, yes: bool, json: bool) -> None:
    """Count, ask, and do it in the foreground.

    Raises `BadInput`, `UnknownQueue`, `Unavailable`.
    """
    from ..queues.bulk import Operations, Runner

    operations = Operations(access.queues)
    count, exact = operations.count(queue, wish)
    said = f"{'' if exact else 'up to '}{counted(count, 'job')} of {queue}"
    if dry_run:
        told = {"dryRun": True, "queueName": queue, "action": wish.action, "count": count, "isExact": exact}
        print_json(told) if json else say(f"{wish.action}: {said}; nothing was done")
        return
    confirm(f"{wish.action.capitalize()} {said}?", yes=yes)
    runner = Runner(access.queues)
    with audited(access, "POST", "queues", queue, "bulk", body=_told(wish)):
        operation = operations.begin(queue, wish, owner=runner.name)
    _finish(access, runner, operation, json=json)


def _told(wish: Wish) -> dict[str, Any]:
    """Return a wish as the API's body tells it."""
    sought = wish.sought
    named = {"jobType": sought.job_type, "fields": dict(sought.fields), "fingerprint": sought.fingerprint}
    meant = {"status": list(sought.states), **named, "until": sought.until_ms}
    told = {"action": wish.action, "filter": {name: value for name, value in meant.items() if value}}
    return {**told, "perSecond": wish.per_second, "reason": wish.reason}


def _finish(access: QueueAccess, runner: Runner, operation: Operation, *, json: bool) -> None:
    """Run an operation to its end with a progress bar; Ctrl-C stops it."""
    from rich.progress import Progress

    from ..errors import WrongState
    from ..queues.bulk import Operations

    operations = Operations(access.queues)
    with Progress(console=console(stderr=True), disable=json, transient=True) as bar:
        task = bar.add_task(f"{operation.wish.action} in {operation.queue}", total=operation.total)

        def show(now: Operation) -> None:
            bar.update(task, completed=now.done + now.skipped)

        try:
            operation = runner.run(operation, show)
            while operation.state == "running":
                # Suspended for a while, we lost it to an admin, which goes on with it.
                time.sleep(_LOOK_SECONDS)
                operation = operations.get(operation.queue, operation.id)
                show(operation)
        except KeyboardInterrupt:
            try:
                with audited(access, "POST", "queues", operation.queue, "bulk", operation.id, "stop"):
                    operation = operations.stop(operation.queue, operation.id)
            except WrongState:
                operation = operations.get(operation.queue, operation.id)
    if json:
        print_json(operation.shown().as_json())
    else:
        say(_in_words(operation))
    if operation.state == "stopped":
        raise typer.Exit(1)


def _in_words(operation: Operation) -> str:
    left = f"; {operation.skipped} {agreeing(operation.skipped, 'was', 'were')} left alone" if operation.skipped else ""
    said = f"{operation.wish.action}: {counted(operation.done, 'job')} of {operation.queue}{left}"
    if operation.state == "stopped":
        why = f" ({operation.error})" if operation.error else ""
        return f"{said}; stopped{why}, it goes on with: nomad operations resume {operation.queue} {operation.id}"
    return said


@group.command("list")
def list_operations(json: Json = False) -> None:
    """List bulk operations of all queues, the newest first."""
    from ..queues.bulk import Operations

    with opened() as access:
        found = Operations(access.queues).all()
    if json:
        print_json({"operations": [operation.shown().as_json() for operation in found]})
        return
    now = now_ms()
    rows = [
        [
            each.id,
            each.queue,
            each.wish.action,
            each.state,
            f"{each.done + each.skipped}/{each.total}",
            ago(each.created_ms, now),
            f"{each.wish.by} {each.error or each.wish.reason}".strip(),
        ]
        for each in found
    ]
    headings = ["ID", "QUEUE", "ACTION", "STATE", "JOBS", "BEGUN", "BY"]
    console().print(table(headings, rows, right=("JOBS",)) if rows else "no bulk operation is kept")


@group.command("stop")
def stop(queue: QueueName, operation: OperationId, json: Json = False) -> None:
    """Stop a bulk operation, wherever it runs, after the step at hand."""
    from ..queues.bulk import Operations

    with opened() as access, audited(access, "POST", "queues", queue, "bulk", operation, "stop"):
        stopped = Operations(access.queues).stop(queue, operation)
    print_json(stopped.shown().as_json()) if json else say(_in_words(stopped))


@group.command("resume")
def resume(queue: QueueName, operation: OperationId, json: Json = False) -> None:
    """Let a stopped bulk operation go on, here in the foreground."""
    from ..queues.bulk import Operations, Runner

    with opened() as access:
        runner = Runner(access.queues)
        with audited(access, "POST", "queues", queue, "bulk", operation, "resume"):
            going_on = Operations(access.queues).go_on(queue, operation, owner=runner.name)
        _finish(access, runner, going_on, json=json)


def retry_failed(access: QueueAccess, queue: str, *, json: bool) -> None:
    """Retry every failed job of a queue but the cancelled ones; it needs no question, since nothing is lost by it."""
    from ..queues.bulk import MAX_PER_SECOND, Wish
    from ..queues.search import JobFilter

    wish = Wish(action="retry", sought=JobFilter(states=("failed",)), per_second=MAX_PER_SECOND, by=who())
    act(access, queue, wish, dry_run=False, yes=True, json=json)
