"""`nomad queues`: every queue in one table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..broker.records.limits import Pause, PauseScope
from ..errors import Unavailable
from ..logs import redact
from ..logs.counted import counted
from ..queues import pauses
from ..queues.across_queues import read_snapshots
from ..queues.snapshot import DAY_SECONDS, readable
from .options import Json
from .report import console, duration, moment, now_ms, print_json, styled, table
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
            details = _details(access)
            print_json({"queues": details}) if json else console().print(_table(details))
            return
        try:
            _watch(access, every, json=json)
        except KeyboardInterrupt:
            return


def _watch(access: QueueAccess, every: float, *, json: bool) -> None:
    out = console()
    while json:
        print_json({"queues": _details(access)}, lines=True)
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
        return _table(_details(access))
    except Unavailable as error:
        return styled(f"{moment(now_ms())}: {redact(str(error))}", "red")


def _details(access: QueueAccess) -> list[dict[str, Any]]:
    """Return each queue's details, as the admin's API does."""
    from ..health.queue_numbers import queue_details

    snapshots = readable(read_snapshots(access.queues, window_seconds=DAY_SECONDS))
    return [queue_details(queue).as_json() for queue in snapshots]


def _table(details: list[dict[str, Any]]) -> Group:
    lines = []
    for queue in details:
        lines += [styled(_pause(queue["queueName"], pause), "yellow") for pause in queue["pauses"]]
        if not queue["workers"]:
            lines.append(styled(f"{queue['queueName']}: no live worker; start one: nomad run workers", "red"))
        if cancelled := queue["kept"]["cancelled"]:
            lines.append(styled(f"{queue['queueName']}: {counted(cancelled, 'cancelled job')}, not counted as failed"))
    return Group(table(_HEADINGS, map(_cells, details), right=_HEADINGS[1:]), *lines)


def _cells(queue: dict[str, Any]) -> list[Text | str]:
    failed = queue["kept"]["failed"] - queue["kept"]["cancelled"]
    workers, rate = len(queue["workers"]), queue["failureRate"]
    numbers = (queue["waiting"] + queue["paused"], queue["active"], queue["delayed"], queue["kept"]["completed"])
    return [
        styled(queue["queueName"] + (" (paused)" if queue["isPaused"] else "")),
        *map(str, numbers),
        styled(str(failed), "red" if failed else ""),
        duration(queue["oldestWaitingMs"]),
        styled(str(workers), "" if workers else "red"),
        "-" if rate is None else f"{rate:g}",
    ]


def _pause(queue: str, json: dict[str, Any]) -> str:
    pause = Pause(PauseScope(json["scope"]), json["since"], json["until"], json["reason"], json["by"])
    return f"{queue}: {pauses.describe(pause)}; {pauses.resume_command(queue, pause.scope)}"
