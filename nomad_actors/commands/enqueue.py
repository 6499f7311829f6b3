"""`nomad enqueue JOBTYPE`: a command for each job type, with options derived from its payload."""

from __future__ import annotations

import inspect
import json as json_module
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import TypeAdapter
from typer.core import TyperGroup

from ..errors import BadInput, BadPayload, UnknownJobType
from ..logs.counted import counted
from ..logs.json_text import levels, readable
from ..queues import AddedJob
from ..queues.job_type import JobType
from ..queues.new_job import JobOptions
from ..queues.payloads.reasons import MAX_LEVELS
from ..queues.policy import Priority
from ..queues.snapshot import describe_pause, resume_command
from .audited import audited
from .exits import Interrupted
from .options import Json
from .payload_options import PayloadOption, payload_options
from .report import NONE, duration, parse_duration, print_json, print_line, print_result, print_text
from .session import opened, who
from .waiting import wait_for

if TYPE_CHECKING:
    from ..app import QueueAccess

_PARAMETER_KIND = inspect.Parameter.KEYWORD_ONLY
#: The job options on the command line, and the metavars of their values.
_JOB_OPTIONS = {"priority": "NAME", "delay": "TIME", "attempts": "N", "job_id": "ID"}


class JobTypeGroup(TyperGroup):
    """A command for each registered job type, built when it is requested."""

    def list_commands(self, ctx: Any) -> list[str]:
        with opened() as access:
            return sorted(access.queues.job_types)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        with opened() as access:
            if cmd_name not in access.queues.job_types:
                raise UnknownJobType(cmd_name, access.queues.job_types)
            return _command(access.queues.job_types[cmd_name])


group = typer.Typer(
    cls=JobTypeGroup,
    help="Add a job; `nomad enqueue JOBTYPE --help` lists its options.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def common(
    data: Annotated[
        str | None, typer.Option(metavar="JSON", help="The data as one JSON object; options override its fields.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job ends; exit with 0 if it completes.")] = False,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="How long to --wait, such as 30s or 5m.")] = None,
    json: Json = False,
) -> None:
    """Declare the parameters of every job type's command besides its payload and the job options."""


def own_parameters() -> list[inspect.Parameter]:
    """Return the parameters of every job type's command besides its payload."""
    declared = TypeAdapter(JobOptions).json_schema()["properties"]
    options = [_job_option(name, metavar, declared[name]) for name, metavar in _JOB_OPTIONS.items()]
    return [*options, *inspect.signature(common, eval_str=True).parameters.values()]


def _command(job_type: JobType) -> Any:
    own = own_parameters()
    options = payload_options(job_type.payload, taken={each.name.replace("_", "-") for each in own})
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name=job_type.name, help=_help(job_type))(_callback(job_type, options, own))
    return typer.main.get_command(app)


def _job_option(name: str, metavar: str, declared: dict[str, Any]) -> inspect.Parameter:
    # A time has a unit here; elsewhere it is a number of ms.
    text = "start it later, such as 30s or 2h" if metavar == "TIME" else declared["description"]
    kind: Any = str
    limits: dict[str, Any] = {}
    if metavar == "N":
        integer = next(each for each in declared["anyOf"] if each["type"] == "integer")
        kind, limits = int, {"min": integer["minimum"], "max": integer["maximum"]}
    info = typer.Option(metavar=metavar, help=f"{text[0].upper()}{text[1:]}.", **limits)
    return inspect.Parameter(name, _PARAMETER_KIND, default=None, annotation=Annotated[kind | None, info])


def _callback(job_type: JobType, options: list[PayloadOption], own: list[inspect.Parameter]) -> Callable[..., None]:
    def add(**given: Any) -> None:
        data = _data(given.pop("data"), [(option, given.pop(option.parameter)) for option in options])
        _add(job_type, data, **given)

    parameters = [
        inspect.Parameter(o.parameter, _PARAMETER_KIND, default=None, annotation=o.annotation) for o in options
    ]
    parameters += [each.replace(kind=_PARAMETER_KIND) for each in own]
    add.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    add.__annotations__ = {each.name: each.annotation for each in parameters}
    return add


def _help(job_type: JobType) -> str:
    attempts, limit = counted(job_type.attempts, "attempt"), duration(job_type.time_limit_ms)
    priority = Priority(job_type.priority).name
    policy = f"Queue {job_type.queue}, priority {priority}, {attempts}, time limit {limit}."
    # Not `__doc__`: a class without a docstring would inherit that of its base.
    about = inspect.cleandoc(vars(job_type.payload).get("__doc__") or "")
    return "\n\n".join(part for part in (job_type.description, policy, about) if part)


def _data(text: str | None, given: list[tuple[PayloadOption, Any]]) -> dict[str, Any]:
    """Return the job's data: the JSON object, with fields overridden by options."""
    data = {} if text is None else _object(text)
    data |= {option.field: option.parse(value) for option, value in given if value not in (None, [])}
    if levels(data, MAX_LEVELS) == MAX_LEVELS:
        raise BadInput(f"the data is nested too deeply (allowed: up to {MAX_LEVELS} levels)")
    try:
        json_module.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            "the data contains half a surrogate pair, such as \\ud83d (allowed: text that UTF-8 can represent)"
        ) from error
    return data


def _object(text: str) -> dict[str, Any]:
    try:
        data = json_module.loads(text)
    except ValueError as error:
        raise BadInput(f"--data is not JSON ({error}); allowed: an object, as '{{\"sweep\": true}}'") from error
    except RecursionError as error:
        raise BadInput("--data is nested too deeply; allowed: an object, as '{\"sweep\": true}'") from error
    if not isinstance(data, dict):
        raise BadInput(f"--data is {type(data).__name__}, not an object; allowed: '{{\"name\": value, …}}'")
    return data


def _add(
    job_type: JobType,
    data: dict[str, Any],
    *,
    priority: str | None,
    delay: str | None,
    attempts: int | None,
    job_id: str | None,
    wait: bool,
    timeout: str | None,
    json: bool,
) -> None:
    delay_ms = 0 if delay is None else parse_duration(delay, "--delay")
    timeout_ms = None if timeout is None else parse_duration(timeout, "--timeout")
    if timeout_ms is not None and not wait:
        raise BadInput("--timeout goes with --wait only")
    with opened() as access:
        number = int(priority) if priority and priority.isdigit() else priority
        options = {"priority": number, "attempts": attempts, "delay": delay_ms, "job_id": job_id}
        added = _added(access, job_type, data, options)
        if wait:
            _wait(access, added.queue, added.id, timeout_ms, json=json)
            return
    fields = {"id": added.id, "name": job_type.name, "queueName": added.queue, "state": added.state}
    text = f"Job {added.id} of {added.queue} is {added.state}. See it: nomad job {added.id}"
    print_result({**fields, "priority": added.priority}, text, json=json)


def _added(access: QueueAccess, job_type: JobType, data: dict[str, Any], options: dict[str, Any]) -> AddedJob:
    opts = {{"job_id": "jobId"}.get(name, name): value for name, value in options.items() if value}
    body = {"name": job_type.name, "data": data, "opts": opts}
    try:
        with audited(access.settings, "POST", "queues", job_type.queue, "jobs", body=body):
            return access.queues.add_job(job_type.queue, job_type.name, data, requested_by=who(), **options)
    except BadPayload as error:
        # Leave out the long list of allowed fields: the help shows it better.
        wrong = str(error).partition(" (allowed: ")[0]
        raise BadInput(f"{wrong}; see: nomad enqueue {job_type.name} --help") from error


def _wait(access: QueueAccess, queue: str, job_id: str, timeout_ms: int | None, *, json: bool) -> None:
    chosen = access.queues.get_queue(queue)
    # First, so that a user who stops waiting knows the job's id.
    print_line(f"Waiting for job {job_id} of {queue}. See it: nomad job {job_id}", err=True)
    for pause in chosen.snapshot(window_seconds=0).pauses:
        print_line(f"{queue} is {describe_pause(pause)}; {resume_command(queue, pause.scope)}", err=True)
    try:
        job = wait_for(chosen, job_id, timeout_ms)
    except KeyboardInterrupt:
        raise Interrupted(f"waiting was stopped; the job continues: nomad job {job_id}") from None
    if json:
        print_json(job.as_json())
    elif job.outcome in ("completed", "skipped"):
        result = NONE if job.returnvalue is None else readable(job.returnvalue).text
        print_text(f"job {job_id} {job.outcome} after {duration(job.run_ms)}", *result.splitlines())
    if job.outcome not in ("completed", "skipped"):
        reason = " ".join((job.failed_reason or "no reason is stored").split())
        print_line(f"nomad: job {job_id} {job.outcome}: {reason}; see: nomad job {job_id}", err=True)
        raise typer.Exit(1)
