"""`nomad schedules`: what is due when, and what an operator does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .audited import audited
from .options import Json
from .report import NONE, ago, console, instant_ms, moment, now_ms, print_json, say, styled, table
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
        told = status.get_scheduler_summary(access.queues, access.clock)
    if json:
        print_json(told)
        return
    _show(told)


def _show(told: dict[str, Any]) -> None:
    out, now = console(), now_ms()
    rows = [
        [
            job["name"],
            "on" if job["running"] else "off",
            job["cronExpression"],
            job["timezone"],
            ago(instant_ms(job["nextRun"]), now),
            ago(instant_ms(job["lastRun"]), now),
            job["lastStatus"] or NONE,
        ]
        for job in told["jobs"]
    ]
    out.print(table(["SCHEDULE", "ON", "CRON", "ZONE", "NEXT", "LAST", "OUTCOME"], rows))
    for job in told["jobs"]:
        if job["overdue"]:
            out.print(styled(f"{job['name']}: overdue: {job['overdue']}", "red"))
    for bad in told["unreadable"]:
        out.print(styled(f"{bad['name']}: cannot be read: {bad['why']}; to remove it: {bad['fix']}", "red"))
    live = [each for each in told["schedulers"] if each["live"]]
    names = ", ".join(each["name"] for each in live)
    words = f"schedulers: {names}" if live else "no live scheduler: nothing that is due is added; nomad run scheduler"
    out.print(styled(words, "" if live else "red"))
    for each in live:
        if each["holds"]:
            since = moment(instant_ms(each["holdsSince"]))
            out.print(styled(f"{each['name']}: adds nothing since {since}: {each['holds']}", "red"))


@group.command()
def start(name: Name, json: Json = False) -> None:
    """Switch a schedule on; what came due while it was off was not missed."""
    with opened() as access:
        with audited(access, "POST", "scheduler", name, "start"):
            _schedules(access).start_job(name)
        _tell(access, name, "is on", json=json)


@group.command()
def stop(name: Name, json: Json = False) -> None:
    """Switch a schedule off, in every scheduler at once; its job that waits or runs stays."""
    with opened() as access:
        with audited(access, "POST", "scheduler", name, "stop"):
            _schedules(access).stop_job(name)
        _tell(access, name, "is off", json=json)


@group.command()
def run(
    name: Name,
    force: Annotated[bool, typer.Option(help="Also beside a previous run that is not over.")] = False,
    json: Json = False,
) -> None:
    """Add a schedule's job now."""
    with opened() as access, audited(access, "POST", "scheduler", name, "run", body={"force": force}):
        added = _schedules(access).run_job(name, force=force, by=who())
    if json:
        print_json(
            {"success": True, "jobName": name, "queueName": added.queue, "jobId": added.id, "status": added.state}
        )
    else:
        say(f"job {added.id} of {added.queue} is {added.state}; nomad job {added.id}")


def _schedules(access: QueueAccess) -> Schedules:
    from ..scheduler import Schedules

    return Schedules(access.queues, access.clock)


def _tell(access: QueueAccess, name: str, words: str, *, json: bool) -> None:
    from ..scheduler import status

    told = status.get_job_status(access.queues, access.clock, name)
    if json:
        print_json({"success": True, "jobName": name, **told})
        return
    due = f"; next run {moment(instant_ms(told['nextRun']))}" if told["nextRun"] else ""
    say(f"schedule {name} {words}{due}")
