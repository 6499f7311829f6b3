"""`nomad pause`, `resume`, `limits` and `clean`: actions on a whole queue."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated

import typer

from ..broker.records.limits import Limits, PauseScope
from ..broker.states import in_words
from ..errors import BadInput, UnknownState
from ..logs.counted import counted
from ..queues import Queues
from ..queues.models import LimitsInForce
from ..queues.queue import CLEANABLE
from ..queues.snapshot import resume_command
from .audited import audited
from .options import Json, QueueName, Yes, confirm
from .report import duration, parse_duration, print_result
from .session import opened, who

#: The period of a limit of starts that has none.
DEFAULT_PERIOD_MS = 60_000

OrEsi = Annotated[str | None, typer.Argument(metavar="QUEUE")]
Esi = Annotated[bool, typer.Option("--esi", help="Every queue whose jobs use ESI, independent of its own pause.")]


def pause(
    queue: OrEsi = None,
    esi: Esi = False,
    reason: Annotated[str, typer.Option(help="The reason, for whoever finds the queue paused.")] = "",
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Resume automatically after this time, such as 30m or 2h."),
    ] = None,
    json: Json = False,
) -> None:
    """Pause a queue: no job of it starts in any process. Running jobs finish."""
    for_ms = None if for_ is None else parse_duration(for_, "--for")
    scope = PauseScope.ESI if esi else PauseScope.QUEUE
    with opened() as access:
        names = _chosen(access.queues, queue, esi=esi)
        with audited(access.settings, "POST", *_switch(queue), "pause", body={"reason": reason, "forMs": for_ms}):
            for name in names:
                access.queues.get_queue(name).pause(reason=reason, by=who(), for_ms=for_ms, scope=scope)
        for name in names:
            counts = access.queues.get_queue(name).counts()
            paused = f"{name} is paused for {duration(for_ms)}" if for_ms else f"{name} is paused"
            jobs = f"{counted(counts['paused'], 'job')} waiting, {counted(counts['active'], 'job')} still running"
            text = f"{paused}: {jobs}. Resume: {resume_command(name, scope)}"
            print_result({"success": True, "queueName": name, "status": "paused"}, text, json=json, lines=esi)


def resume(queue: OrEsi = None, esi: Esi = False, json: Json = False) -> None:
    """Resume a paused queue. A queue's own pause and the pause of all queues that use ESI end separately."""
    scope = PauseScope.ESI if esi else PauseScope.QUEUE
    with opened() as access:
        names = _chosen(access.queues, queue, esi=esi)
        with audited(access.settings, "POST", *_switch(queue), "resume"):
            for name in names:
                access.queues.get_queue(name).resume(scope=scope)
        for name in names:
            snapshot = access.queues.get_queue(name).snapshot(window_seconds=0)
            left, counts = snapshot.pauses, snapshot.counts
            status, text = "running", f"{name} is running: {counted(counts['waiting'], 'job')} waiting."
            if left:
                command = resume_command(name, left[0].scope)
                text = f"{name} is still paused: {counted(counts['paused'], 'job')} waiting. Resume: {command}"
                status = "paused"
            print_result({"success": True, "queueName": name, "status": status}, text, json=json, lines=esi)


def _switch(queue: str | None) -> tuple[str, ...]:
    return ("esi",) if queue is None else ("queues", queue)


def _chosen(queues: Queues, queue: str | None, *, esi: bool) -> list[str]:
    """Return the named queue, or all queues whose jobs use ESI."""
    if (queue is None) is not esi:
        raise BadInput("name a queue or use --esi (allowed: one of the two)")
    return queues.esi_queues() if queue is None else [queue]


def limits(
    queue: QueueName,
    concurrency: Annotated[
        str | None, typer.Option(metavar="N", help="Jobs that may run at once, on all hosts.")
    ] = None,
    starts: Annotated[str | None, typer.Option(metavar="N", help="Job starts per period; see --per.")] = None,
    per: Annotated[
        str | None, typer.Option(metavar="TIME", help="The period, such as 1s or 5m; one minute by default.")
    ] = None,
    max_length: Annotated[
        str | None, typer.Option(metavar="N", help="Waiting and delayed jobs; more are refused.")
    ] = None,
    json: Json = False,
) -> None:
    """Show or set a queue's limits. A change applies at once on all hosts; `none` removes a limit."""
    with opened() as access:
        found = access.queues.get_queue(queue)
        known = found.snapshot(window_seconds=0).limits
        limits = known
        if concurrency is not None:
            limits = replace(limits, concurrency=_number(concurrency, "--concurrency"))
        limits = _rated(limits, starts, per)
        if max_length is not None:
            limits = replace(limits, max_length=_number(max_length, "--max-length"))
        shown = LimitsInForce.model_construct(**asdict(limits)).as_json()
        if limits != known:
            with audited(access.settings, "PUT", "queues", queue, "limits", body=shown):
                found.set_limits(limits)
        concurrency_in_force = found.snapshot(window_seconds=0).limit_in_force
    rate = f"{limits.starts} in {duration(limits.period_ms)}" if limits.period_ms else "no limit"
    text = (
        f"Limits of {queue}: running on all hosts: {concurrency_in_force or 'no limit'}; starts: {rate}; "
        f"waiting and delayed: {limits.max_length or 'no limit'}"
    )
    print_result({"queueName": queue, **shown, "inForce": concurrency_in_force}, text, json=json)


def _rated(limits: Limits, starts: str | None, per: str | None) -> Limits:
    """Return the limits with another number of starts, another period, or both."""
    count = limits.starts if starts is None else _number(starts, "--starts")
    if per is not None and count is None:
        raise BadInput("--per needs a limit of starts, and there is none (allowed: with --starts N)")
    if count is None:
        return replace(limits, starts=None, period_ms=None)
    period_ms = limits.period_ms or DEFAULT_PERIOD_MS if per is None else parse_duration(per, "--per")
    return replace(limits, starts=count, period_ms=period_ms)


def _number(text: str, option: str) -> int | None:
    if text == "none":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise BadInput(f"{option} {text!r} is invalid (allowed: a whole number, or none)")
    return int(text)


def clean(
    queue: QueueName,
    status: Annotated[str, typer.Option("--status", "-s", help=f"{in_words(CLEANABLE)}.")] = ("completed"),
    grace: Annotated[
        str, typer.Option(metavar="AGE", help="Remove only jobs that ended, or else were added, longer ago.")
    ] = "1h",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000)] = 1000,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Remove a queue's old jobs of one state, oldest first."""
    grace_ms = parse_duration(grace, "--grace")
    with opened() as access:
        found = access.queues.get_queue(queue)
        if status == "waiting" and found.snapshot(window_seconds=0).is_paused:
            # Jobs that wait in a paused queue have another state name, but are meant too.
            status = "paused"
        if status not in CLEANABLE:
            raise UnknownState(status, CLEANABLE)
        count = found.counts()[status]
        confirm(f"Remove up to {counted(min(limit, count), f'{status} job')} of {queue} older than {grace}?", yes=yes)
        body = {"status": status, "grace": grace_ms, "limit": limit}
        with audited(access.settings, "POST", "queues", queue, "clean", body=body):
            removed = found.clean(grace_ms, status, limit)
    result = {"success": True, "queueName": queue, "status": status, "removed": len(removed)}
    print_result(result, f"Removed {counted(len(removed), f'{status} job')} of {queue}.", json=json)
