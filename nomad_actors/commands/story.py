"""Prints one job on a terminal: its facts, its story, its log, and what to do next."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any

from ..logs.counted import counted
from ..logs.json_text import MAX_CHARS, one_line
from ..queues.job import Event, Job
from ..queues.policy import Priority
from .explain import Explanation
from .report import ago, duration, moment, now_ms, print_text, styled

#: Fields of an event that are printed without their names.
_UNNAMED = {"event", "at", "traceback", "class", "message", "worker", "due", "reason"}


def show(job: Job, explanation: Explanation) -> None:
    print_text(styled(f"{job.name} {job.id}", "bold"), *(f"  {name:<10}{value}" for name, value in _head(job)))
    print_text("", styled("Story (UTC)", "bold"), *_story(job))
    if job.log:
        left_out = f", {job.log_lines_left_out} older lines left out" if job.log_lines_left_out else ""
        print_text("", styled(f"Log{left_out}", "bold"))
        print_text(*(f"  {_timestamp(line['at'])}  {line['line']}" for line in job.log))
    print_text("", styled("Why   " + explanation.why, "yellow" if job.status != "completed" else ""))
    for number, step in enumerate(explanation.next):
        print_text(("Next  " if number == 0 else "      ") + step)


def _head(job: Job) -> list[tuple[str, str]]:
    priority_name = Priority(job.opts.priority).name if job.opts.priority in list(Priority) else "custom"
    state = job.status if job.outcome in (None, job.status) else f"{job.status} ({job.outcome})"
    crashes = f", lost its worker {counted(job.crashes, 'time')}" if job.crashes else ""
    requester = f" by {job.requested_by}" if job.requested_by else ""
    head = [
        ("queue", job.queue),
        ("status", f"{state}{crashes}"),
        ("attempts", f"{job.attempts_made} of {job.opts.attempts} used"),
        ("priority", f"{job.opts.priority} ({priority_name})"),
        ("added", f"{moment(job.timestamp_ms)} ({ago(job.timestamp_ms, now_ms())}){requester}"),
        ("data", _json(job.data, job)),
    ]
    if job.run_ms is not None:
        head.append(("last run", f"waited {duration(job.wait_ms)}, ran {duration(job.run_ms)}"))
    if job.status == "active" and job.progress_detail:
        detail = job.progress_detail
        head.append(("progress", f"{job.progress:g} % ({detail['done']:g} of {detail['total']:g}) {detail['note']}"))
    if job.status == "completed":
        head.append(("result", _json(job.returnvalue, job)))
    return head


def _story(job: Job) -> list[str]:
    lines: list[str] = []
    for event in job.timeline:
        lines.append(f"  {_timestamp(event.get('at'))}  {_event_text(event)}")
        lines += [f"      {line}" for line in str(event.get("traceback", "")).rstrip().expandtabs().splitlines()]
    return lines


def _event_text(event: Event) -> str:
    words = [str(event["event"])]
    if "worker" in event:
        words.append(f"on {event['worker']}")
    if "class" in event:
        words.append(f"{event['class']}: {event.get('message', '')}")
    if event.get("reason"):
        words.append(f"({event['reason']})")
    if "due" in event:
        words.append(f"for {_timestamp(event['due'])}")
    words += [f"{name}={value}" for name, value in event.items() if name not in _UNNAMED]
    return " ".join(" ".join(words).split())


def _timestamp(ms: Any) -> str:
    """Return an instant with its date and milliseconds, so that the order of events is visible."""
    if not isinstance(ms, int | float):
        return " " * 23
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _json(value: object, job: Job) -> str:
    text = one_line(value)
    if len(text) <= MAX_CHARS:
        return text
    return f"{text[:MAX_CHARS]}… [the rest: nomad job {shlex.quote(job.id)} --json]"
