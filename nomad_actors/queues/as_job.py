"""Converts a stored job, with its message and job type, to the job that callers see; its values fit JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from typing import Any

from dramatiq import Message

from ..broker.records import EventKind
from ..broker.records.stored_job import StoredJob, unpack_error
from ..errors import BadInput
from ..logs.foreign_text import came_from_outside, safe_repr, safe_str
from .job import BackoffOptions, Job, JobOptions
from .job_type import JobType
from .policy import Backoff, Priority

#: Nested calls, lists and objects that may surround a job's data when it is written as JSON.
_DEPTH_TO_SPARE = 100
#: For a name or value that JSON cannot represent.
_MAX_CHARS = 1_000


def as_job(stored: StoredJob, *, queue: str, status: str, job_type: JobType | None, worker: str | None = None) -> Job:
    """Return a stored job as callers see it; `job_type` provides the options that the job did not set."""
    options = stored.message.options if stored.message else {}
    header = stored.record.header if stored.record else None
    errors = _errors(stored)
    started = stored.running_since_ms or (header.started_ms if header else 0)
    backoff = _backoff(options) or (job_type.backoff if job_type else Backoff("exponential", 0))
    progress, unknown_ms = stored.notes.progress, stored.unknown_since_ms()
    # Not validated: these are our own values, and a text may contain half a surrogate pair.
    return Job.model_construct(
        id=stored.job_id,
        name=_shown(stored.message.actor_name) if stored.message else "unknown",
        queue=queue,
        data=_data(stored.message),
        status=status,
        opts=JobOptions.model_construct(
            priority=int(header.priority if header else Priority.NORMAL),
            attempts=_attempts(options, job_type),
            backoff=BackoffOptions.model_construct(type=backoff.type, delay_ms=backoff.delay_ms),
            delay_ms=_int_or_zero(options.get("delay")),
        ),
        attempts_made=header.attempts if header else 0,
        crashes=header.crashes if header else 0,
        progress=round(progress.percent, 1) if progress else 0,
        progress_detail=dataclasses.asdict(progress) if progress else None,
        log=[{"at": int(line.at_ms), "line": line.text} for line in stored.notes.lines],
        log_lines_left_out=stored.notes.dropped,
        outcome=outcome_of(stored),
        cancel_asked=stored.cancel_reason,
        failed_reason=_failed_reason(stored, errors),
        stacktrace=[error["traceback"] for error in errors],
        returnvalue=_returnvalue(stored),
        timestamp_ms=int(header.created_ms) if header else 0,
        processed_on_ms=int(started) or None,
        finished_on_ms=(int(header.finished_ms) or None) if header else None,
        wait_ms=_between(header.ready_ms, started) if header else None,
        run_ms=_between(started, header.finished_ms) if header else None,
        timeline=stored.timeline(worker),
        requested_by=_shown(options["requested_by"]) if options.get("requested_by") is not None else None,
        worker=worker,
        due_ms=int(header.ready_ms) if header and stored.state == "delayed" else None,
        unknown_since_ms=None if unknown_ms is None else int(unknown_ms),
    )


def outcome_of(stored: StoredJob) -> str | None:
    """Return how a job ended, or None if it has not."""
    if stored.state == "completed":
        return "skipped" if stored.skipped else "completed"
    if stored.state == "failed":
        return "cancelled" if stored.cancelled else "failed"
    return None


def _between(start_ms: float, end_ms: float) -> int | None:
    """Return the time between, or None if either is missing, or the end is before the start: the job waits again."""
    return int(end_ms - start_ms) if start_ms and end_ms >= start_ms else None


def _data(message: Message[Any] | None) -> dict[str, Any]:
    """Return data that JSON can represent: any producer, with any Dramatiq encoder, may have written it."""
    if message is None:
        return {}
    data = {"args": list(message.args), **message.kwargs} if message.args else dict(message.kwargs)
    if _is_json(data):
        return data
    return {_shown(name): value if _is_json(value) else _listed(value) for name, value in data.items()}


def _is_json(value: object) -> bool:
    """Return True if a value can be written as JSON, even by a caller deeper in the call stack."""
    for _ in range(_DEPTH_TO_SPARE):
        value = [value]
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except BaseException as error:
        if came_from_outside(error):
            raise
        return False
    return True


def _shown(value: object) -> str:
    return safe_str(value, _MAX_CHARS).encode(errors="backslashreplace").decode()


def _listed(value: object) -> str:
    if isinstance(value, str):
        return _shown(value)
    return safe_repr(value, _MAX_CHARS).encode(errors="backslashreplace").decode()


def _attempts(options: dict[str, Any], job_type: JobType | None) -> int:
    retries = options.get("max_retries")
    if isinstance(retries, int):
        return retries + 1
    return job_type.attempts if job_type else 1


def _backoff(options: dict[str, Any]) -> Backoff | None:
    try:
        return Backoff.parse(options.get("backoff"))
    except BadInput:
        return None


def _int_or_zero(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _errors(stored: StoredJob) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for event in stored.record.events() if stored.record else ():
        if event.kind is EventKind.ENQUEUED:
            found.clear()
        elif event.kind is EventKind.ERROR:
            found.append(unpack_error(event.data))
    return found


def _failed_reason(stored: StoredJob, errors: list[dict[str, str]]) -> str | None:
    if stored.state == "failed":
        reason = stored.reason()
        return f"cancelled: {reason}" if stored.cancelled else reason
    if stored.state == "completed" or not errors:
        return None
    last = errors[-1]
    return f"{last['class']}: {last['message']}" if last["message"] else last["class"]


def _returnvalue(stored: StoredJob) -> object:
    if stored.state != "completed":
        return None
    written = stored.last(EventKind.COMPLETED)
    if not written:
        return None
    try:
        value: object = json.loads(written, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        # Dramatiq's Results wrote it with an application's own encoder.
        return f"{len(written)} bytes that are not JSON"
    if _is_json(value):
        return value
    with contextlib.suppress(RecursionError):
        value = _representable(value)
    return value if _is_json(value) else f"{len(written)} bytes of JSON that is nested too deeply"


def _representable(value: Any) -> Any:
    """Return a value read from JSON with halves of surrogate pairs, NaN and infinities as text."""
    if isinstance(value, dict):
        return {_representable(name): _representable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_representable(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
