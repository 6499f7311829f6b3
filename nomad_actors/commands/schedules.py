"""`nomad schedules`: show schedules, and start, stop or run one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..clock import iso_ms
from .audited import audited
from .options import Json
from .report import NONE, ago, console, moment, now_ms, print_json, print_result, styled, table
from .session import opened, who

if TYPE_CHECKING:
    from ..app import QueueAccess
    from ..scheduler import Schedules

group = typer.Typer(help="Show the schedules; start, stop or run one.", invoke_without_command=True)

Name = Annotated[str, typer.Argument(metavar="NAME")]


@group.callback()
def schedules(context: typer.Context, json: Json = False) -> None:
    """Show the schedules; start, stop or run one."""
    if context.invoked_subcommand is not None:
        return
    from ..scheduler import status

    with opened() as access:
        summary = status.get_scheduler_summary(access.queues)
    if json:
        print_json(summary)
        return
    _show(summary)


def _show(summary: dict[str, Any]) -> None:
    out, now = console(), now_ms()
    rows = [
        [
            job["name"],
            "on" if job["running"] else "off",
            job["cronExpression"],
            job["timezone"],
            ago(iso_ms(job["nextRun"]), now),
            ago(iso_ms(job["lastRun"]), now),
            job["lastStatus"] or NONE,
        ]
        for job in summary["jobs"]
    ]
    out.print(table(["SCHEDULE", "ON", "CRON", "ZONE", "NEXT", "LAST", "OUTCOME"], rows))
    for job in summary["jobs"]:
        if job["overdue"]:
            out.print(styled(f"{job['name']}: overdue: {job['overdue']}", "red"))
    for bad in summary["unreadable"]:
        out.print(styled(f"{bad['name']}: cannot be read: {bad['why']}. Remove it: {bad['fix']}", "red"))
    live = [each for each in summary["schedulers"] if each["live"]]
    names = ", ".join(each["name"] for each in live)
    message = f"schedulers: {names}" if live else "No live scheduler adds due jobs. Start one: nomad run scheduler"
    out.print(styled(message, "" if live else "red"))
    for each in live:
        if each["holds"]:
            since = moment(iso_ms(each["holdsSince"]))
            out.print(styled(f"{each['name']}: suspended since {since}: {each['holds']}", "red"))


@group.command()
def start(name: Name, json: Json = False) -> None:
    """Switch a schedule on. Slots that were due while it was off do not count as missed."""
    with opened() as access:
        with audited(access.settings, "POST", "scheduler", name, "start"):
            _schedules(access).start_job(name)
        _report(access, name, "is on", json=json)


@group.command()
def stop(name: Name, json: Json = False) -> None:
    """Switch a schedule off in every scheduler at once. Its waiting or running job stays."""
    with opened() as access:
        with audited(access.settings, "POST", "scheduler", name, "stop"):
            _schedules(access).stop_job(name)
        _report(access, name, "is off", json=json)


@group.command()
def run(
    name: Name,
    force: Annotated[bool, typer.Option(help="Run it even if its previous run has not ended.")] = False,
    json: Json = False,
) -> None:
    """Add a schedule's job now."""
    with opened() as access, audited(access.settings, "POST", "scheduler", name, "run", body={"force": force}):
        added = _schedules(access).run_job(name, force=force, by=who())
    result = {"success": True, "jobName": name, "queueName": added.queue, "jobId": added.id, "status": added.state}
    print_result(result, f"Job {added.id} of {added.queue} is {added.state}. See it: nomad job {added.id}", json=json)


def _schedules(access: QueueAccess) -> Schedules:
    from ..scheduler import Schedules

    return Schedules(access.queues)


def _report(access: QueueAccess, name: str, change: str, *, json: bool) -> None:
    from ..scheduler import status

    job_status = status.get_job_status(access.queues, name)
    due = f" Next run: {moment(iso_ms(job_status['nextRun']))}" if job_status["nextRun"] else ""
    print_result({"success": True, "jobName": name, **job_status}, f"Schedule {name} {change}.{due}", json=json)
