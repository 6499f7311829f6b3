"""`nomad queues` and `nomad workers`: every queue in one table, and the live worker processes with their jobs."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..errors import Unavailable
from ..logs import redact
from ..logs.counted import counted
from ..queues.across_queues import read_snapshots
from ..queues.snapshot import DAY_SECONDS, QueueSnapshot, describe_pause, readable, resume_command
from .options import Json
from .report import ago, console, duration, moment, now_ms, print_json, styled, table
from .session import opened

if TYPE_CHECKING:
    from ..app import QueueAccess

_HEADINGS = ("QUEUE", "WAITING", "ACTIVE", "DELAYED", "COMPLETED", "FAILED", "OLDEST", "WORKERS", "FAIL%")


def queues(
    json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh the table until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Interval of --watch.")] = 2.0,
) -> None:
    """Show each queue: jobs by state, wait of the oldest job, live workers, and the failure rate of the last day.

    COMPLETED and FAILED count kept jobs; lines below the table count the cancelled ones. A paused queue's waiting jobs
    count as waiting here.
    """
    with opened() as access:
        if not watch:
            print_json(_as_json(access)) if json else console().print(_table(_snapshots(access)))
            return
        with contextlib.suppress(KeyboardInterrupt):
            _watch(access, every, json=json)


def _watch(access: QueueAccess, every: float, *, json: bool) -> None:
    out = console()
    while json:
        print_json(_as_json(access), lines=True)
        time.sleep(every)
    while not out.is_terminal:
        out.print(_frame(access), "")
        time.sleep(every)
    with Live(_frame(access), console=out, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            live.update(_frame(access), refresh=True)


def _frame(access: QueueAccess) -> Group | Text:
    """Return the table, or the error while Redis does not answer."""
    try:
        return _table(_snapshots(access))
    except Unavailable as error:
        return styled(f"{moment(now_ms())}: {redact(str(error))}", "red")


def _snapshots(access: QueueAccess) -> list[QueueSnapshot]:
    return readable(read_snapshots(access.queues, window_seconds=DAY_SECONDS))


def _as_json(access: QueueAccess) -> dict[str, Any]:
    """Return each queue's details, as the admin's API does."""
    from ..job_metrics import queue_details

    return {"queues": [queue_details(queue).as_json() for queue in _snapshots(access)]}


def _table(queues: list[QueueSnapshot]) -> Group:
    lines = []
    for queue in queues:
        for pause in queue.pauses:
            text = f"{queue.name}: {describe_pause(pause)}; {resume_command(queue.name, pause.scope)}"
            lines.append(styled(text, "yellow"))
        if not queue.workers:
            lines.append(styled(f"{queue.name}: no live worker; start one: nomad run workers", "red"))
        if queue.cancelled:
            lines.append(styled(f"{queue.name}: {counted(queue.cancelled, 'cancelled job')}, not counted as failed"))
    return Group(table(_HEADINGS, map(_cells, queues), right=_HEADINGS[1:]), *lines)


def _cells(queue: QueueSnapshot) -> list[Text | str]:
    counts, stats, workers = queue.counts, queue.stats(), len(queue.workers)
    failed = counts["failed"] - queue.cancelled
    return [
        styled(queue.name + (" (paused)" if queue.is_paused else "")),
        str(counts["waiting"] + counts["paused"]),
        *(str(counts[state]) for state in ("active", "delayed", "completed")),
        styled(str(failed), "red" if failed else ""),
        duration(queue.oldest_waiting_ms),
        styled(str(workers), "" if workers else "red"),
        "-" if not stats.ended else f"{round(100 * stats.failed / stats.ended, 2):g}",
    ]


def workers(json: Json = False) -> None:
    """Show the live worker processes: their queues, running jobs with their start, and last heartbeat."""
    with opened() as access:
        live = _workers(access)
    if json:
        print_json({"workers": live})
    else:
        _print_workers(live)


def _workers(access: QueueAccess) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for queue in readable(read_snapshots(access.queues)):
        for worker in queue.workers:
            details = found.setdefault(worker.name, {"name": worker.name, "heardAt": 0, "queues": [], "running": []})
            details["queues"].append(queue.name)
            details["heardAt"] = max(details["heardAt"], int(worker.heard_ms))
        for job in queue.running:
            if job.worker in found:
                running = {"jobId": job.job_id, "queueName": queue.name, "since": int(job.since_ms)}
                found[job.worker]["running"].append(running)
    return [found[name] for name in sorted(found)]


def _print_workers(live: list[dict[str, Any]]) -> None:
    out, now = console(), now_ms()
    if not live:
        out.print(styled("no live worker; start one: nomad run workers", "red"))
        return
    for worker in live:
        out.print(styled(worker["name"], "bold"), styled(f"heartbeat {ago(worker['heardAt'], now)}"))
        out.print(styled(f"  serves {', '.join(worker['queues'])}"))
        if not worker["running"]:
            out.print(styled("  no running jobs"))
            continue
        running = sorted(worker["running"], key=lambda job: job["since"])
        rows = [[f"  {job['jobId']}", job["queueName"], ago(job["since"], now)] for job in running]
        out.print(table(["  RUNS", "QUEUE", "STARTED"], rows))
