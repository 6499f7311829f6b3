"""Checks new jobs and converts them to messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from dramatiq import Message

from ..broker.records import OWN_ID
from ..broker.records.tags import MAX_KEY_CHARS
from ..errors import BadInput, NomadError
from ..logs.foreign_text import came_from_outside, describe_error, safe_repr
from .job_type import JobType
from .new_job import MAX_ATTEMPTS, MAX_DELAY_MS, CallOptions, NewJob
from .plain_actor import PlainActor
from .policy import Backoff, Priority
from .queue import require_int

#: What a message calls.
Target: TypeAlias = JobType | PlainActor


def messages_of(jobs: Sequence[NewJob], find: Callable[[NewJob], Target], *, now_ms: int) -> list[Message[Any]]:
    """Return jobs as messages; `find` returns the job type or actor that a job names.

    Raises `BadPayload` or `BadInput` naming what is wrong and what is allowed, and which job if there are several.
    """
    messages = []
    for number, job in enumerate(jobs):
        try:
            with foreign_values("job"):
                messages.append(_message(job, find(job), now_ms))
        except BadInput as error:
            if len(jobs) > 1:
                error.args = (f"jobs[{number}]: {error}",)
            raise
    return messages


@contextmanager
def foreign_values(of: str) -> Iterator[None]:
    """Raise `BadInput` if a caller's value is an object whose own code fails: it may do so on any access."""
    try:
        yield
    except NomadError:
        raise
    except BaseException as error:
        if came_from_outside(error):
            raise
        raise BadInput(f"the {of} has a value whose own code failed ({describe_error(error, 200)})") from error


def _message(job: NewJob, target: Target, now_ms: int) -> Message[Any]:
    message: Message[Any] = Message(
        queue_name=target.queue,
        actor_name=target.name,
        args=(),
        kwargs=target.write(job.data),
        options=_options(job.options, target),
        message_timestamp=now_ms,
    )
    return message.copy(message_id=_own_id(job.options["job_id"])) if "job_id" in job.options else message


def _options(given: CallOptions, target: Target) -> dict[str, Any]:
    """Return the message's options: the priority, and options that differ from the job type's own.

    Their order matters: it is the order in the stored body, and an idempotency key compares bodies.
    """
    priority = Priority.parse(given["priority"]) if "priority" in given else target.priority
    options: dict[str, Any] = {"priority": int(priority)}
    if target.payload_version != 1:
        options["payload_version"] = target.payload_version
    if "attempts" in given:
        options["max_retries"] = require_int("attempts", given["attempts"], 1, MAX_ATTEMPTS) - 1
    if "backoff" in given:
        options["backoff"] = Backoff.parse(given["backoff"]).as_json()
    if require_int("delay", given.get("delay", 0), 0, MAX_DELAY_MS):
        options["delay"] = given["delay"]
    if "requested_by" in given:
        options["requested_by"] = str(given["requested_by"])[:200]
    return {**options, **_unique(given), **_idempotency(given)}


def _unique(given: CallOptions) -> dict[str, Any]:
    """Return the options of a unique key; the broker checks the key and the time."""
    until, replace = given.get("unique_until", "end"), given.get("unique_replace", False)
    if not isinstance(replace, bool):
        wrong = f"unique_replace {safe_repr(replace, 200)} is invalid (allowed: True, False)"
        raise BadInput(wrong, accepted=["True", "False"])
    if "unique_key" in given:
        found = {"unique_key": given["unique_key"], "unique_until": until}
        return {**found, "unique_replace": True} if replace else found
    if until != "end" or replace:
        allowed = "with a unique_key, or not at all"
        raise BadInput(
            f"unique_until and unique_replace are options of a unique key (allowed: {allowed})", accepted=[allowed]
        )
    return {}


def _idempotency(given: CallOptions) -> dict[str, Any]:
    if "idempotency_key" not in given:
        return {}
    key = given["idempotency_key"]
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARS or not key.isprintable():
        allowed = f"1 to {MAX_KEY_CHARS} printable characters"
        raise BadInput(f"idempotency key {safe_repr(key, 80)} is invalid (allowed: {allowed})", accepted=[allowed])
    return {"idempotency_key": key, **({OWN_ID: _own_id(given["job_id"])} if "job_id" in given else {})}


def _own_id(job_id: object) -> str:
    if (
        isinstance(job_id, str)
        and 1 <= len(job_id) <= 200
        and job_id.isprintable()
        # Ids of schedules' slots begin so.
        and not job_id.startswith("schedule:")
        # In a URL they mean this path and its parent, so clients would request those instead.
        and job_id not in (".", "..")
    ):
        return job_id
    allowed = "1 to 200 printable characters that do not begin with 'schedule:', and are not '.' or '..'"
    raise BadInput(f"job id {safe_repr(job_id, 400)} is invalid (allowed: {allowed})", accepted=[allowed])
