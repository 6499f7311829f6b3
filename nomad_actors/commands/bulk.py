"""`nomad bulk` and `nomad operations`: one action on many jobs, which can be stopped and resumed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from ..errors import WrongState
from ..logs.counted import counted
from ..queues.bulk import MAX_PER_SECOND, BulkRequest, Operation, Operations, Runner
from ..queues.bulk.operation import BulkFilter
from ..queues.search import JobFilter, parse_fields
from .audited import audited
from .options import Fields, Fingerprint, JobTypeName, Json, QueueName, Yes, confirm, parse_states
from .report import ago, console, now_ms, parse_duration, print_json, print_result, table
from .session import opened, who

if TYPE_CHECKING:
    from ..app import QueueAccess

#: How often an operation is read that another runner has taken over.
_POLL_SECONDS = 0.5
_PAST_TENSE = {"retry": "Retried", "remove": "Removed", "promote": "Promoted", "cancel": "Cancelled"}

OperationId = Annotated[str, typer.Argument(metavar="ID")]

group = typer.Typer(help="Show, stop or resume bulk operations.", no_args_is_help=True, rich_markup_mode=None)


def bulk(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="retry, remove, promote or cancel.")],
    queue: QueueName,
    status: Annotated[str | None, typer.Option("--status", "-s", help="States, separated by commas.")] = None,
    job_type: JobTypeName = None,
    field: Fields = None,
    fingerprint: Fingerprint = None,
    older: Annotated[
        str | None, typer.Option(metavar="AGE", help="Ended, or else added, longer ago than this.")
    ] = None,
    per_second: Annotated[
        int, typer.Option("--per-second", metavar="N", help="The largest number of jobs a second.")
    ] = 200,
    reason: Annotated[str, typer.Option(help="The reason, which is stored with cancelled jobs.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the jobs and do nothing.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Retry, remove, promote or cancel many jobs of a queue, in steps. Ctrl-C stops it; it can be resumed later."""
    job_filter = JobFilter(
        states=tuple(parse_states(status)),
        job_type=job_type,
        fields=parse_fields(field or []),
        fingerprint=fingerprint,
        until_ms=None if older is None else int(now_ms()) - parse_duration(older, "--older"),
    )
    with opened() as access:
        request = BulkRequest(action=action, job_filter=job_filter, per_second=per_second, by=who(), reason=reason)
        act(access, queue, request, dry_run=dry_run, yes=yes, json=json)


def act(access: QueueAccess, queue: str, request: BulkRequest, *, dry_run: bool, yes: bool, json: bool) -> None:
    """Count the jobs, ask for confirmation, and run the operation in the foreground."""
    operations = Operations(access.queues)
    count, exact = operations.count(queue, request)
    jobs = f"{'' if exact else 'up to '}{counted(count, 'job')} of {queue}"
    if dry_run:
        result = {"dryRun": True, "queueName": queue, "action": request.action, "count": count, "isExact": exact}
        print_result(result, f"Dry run: {request.action} {jobs}. Nothing was done.", json=json)
        return
    confirm(f"{request.action.capitalize()} {jobs}?", yes=yes)
    runner = Runner(access.queues)
    with audited(access.settings, "POST", "queues", queue, "bulk", body=_request_body(request)):
        operation = operations.begin(queue, request, owner=runner.name)
    _finish(access, runner, operation, json=json)


def _request_body(request: BulkRequest) -> dict[str, Any]:
    """Return the body of the API request for the same operation."""
    return {
        "action": request.action,
        "filter": {name: value for name, value in BulkFilter.of(request.job_filter).as_json().items() if value},
        "perSecond": request.per_second,
        "reason": request.reason,
    }


def _finish(access: QueueAccess, runner: Runner, operation: Operation, *, json: bool) -> None:
    """Run an operation to its end with a progress bar, and stop it at Ctrl-C."""
    operations = Operations(access.queues)
    with Progress(console=console(stderr=True), disable=json, transient=True) as bar:
        task = bar.add_task(f"{operation.request.action} in {operation.queue}", total=operation.total)

        def show(now: Operation) -> None:
            bar.update(task, completed=now.done + now.skipped)

        try:
            operation = runner.run(operation, show)
            while operation.state == "running":
                # This process was suspended for a while, and an admin has taken the operation over.
                time.sleep(_POLL_SECONDS)
                operation = operations.get(operation.queue, operation.id)
                show(operation)
        except KeyboardInterrupt:
            try:
                with audited(access.settings, "POST", "queues", operation.queue, "bulk", operation.id, "stop"):
                    operation = operations.stop(operation.queue, operation.id)
            except WrongState:
                operation = operations.get(operation.queue, operation.id)
    _report(operation, json=json)
    if operation.state == "stopped":
        raise typer.Exit(1)


def _report(operation: Operation, *, json: bool) -> None:
    skipped = f", {operation.skipped} skipped" if operation.skipped else ""
    done = f"{_PAST_TENSE[operation.request.action]} {counted(operation.done, 'job')} of {operation.queue}{skipped}."
    if operation.state == "stopped":
        why = f" ({operation.error})" if operation.error else ""
        done += f" Stopped{why}. Resume: nomad operations resume {operation.queue} {operation.id}"
    print_result(operation.shown().as_json(), done, json=json)


@group.command("list")
def list_operations(json: Json = False) -> None:
    """List the bulk operations of all queues, newest first."""
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
            each.request.action,
            each.state,
            f"{each.done + each.skipped}/{each.total}",
            ago(each.created_ms, now),
            f"{each.request.by} {each.error or each.request.reason}".strip(),
        ]
        for each in found
    ]
    headings = ["ID", "QUEUE", "ACTION", "STATE", "JOBS", "BEGUN", "BY"]
    console().print(table(headings, rows, right=("JOBS",)) if rows else "There are no bulk operations.")


@group.command("stop")
def stop(queue: QueueName, operation: OperationId, json: Json = False) -> None:
    """Stop a bulk operation after its current step, in whatever process it runs."""
    with opened() as access, audited(access.settings, "POST", "queues", queue, "bulk", operation, "stop"):
        stopped = Operations(access.queues).stop(queue, operation)
    _report(stopped, json=json)


@group.command("resume")
def resume(queue: QueueName, operation: OperationId, json: Json = False) -> None:
    """Resume a stopped bulk operation in the foreground."""
    with opened() as access:
        runner = Runner(access.queues)
        with audited(access.settings, "POST", "queues", queue, "bulk", operation, "resume"):
            resumed = Operations(access.queues).resume(queue, operation, owner=runner.name)
        _finish(access, runner, resumed, json=json)


def retry_failed(access: QueueAccess, queue: str, *, json: bool) -> None:
    """Retry every failed job of a queue except cancelled ones. It does not ask, since nothing is lost."""
    request = BulkRequest(action="retry", job_filter=JobFilter(states=("failed",)), per_second=MAX_PER_SECOND, by=who())
    act(access, queue, request, dry_run=False, yes=True, json=json)
