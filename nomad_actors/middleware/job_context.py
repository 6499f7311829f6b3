"""The facts about a job that error reports and every log line written while it runs contain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from dramatiq import Broker, Message, MessageProxy, Middleware

from ..broker.worker.message import LeasedMessage
from ..logs import JOB_FACTS
from ..logs.foreign_text import came_from_outside


class JobContext(Middleware):
    """Sets the job's facts for log lines of the thread that runs it, and of the coroutines that the thread starts."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        JOB_FACTS.set(partial(facts_of, message))

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        JOB_FACTS.set(None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        # `after_process_message` is not called for a skipped job.
        JOB_FACTS.set(None)


def payload_of(message: Message[Any] | MessageProxy) -> Mapping[str, Any]:
    """Return the job's data: its keyword arguments, else the mapping that is its first argument, else nothing."""
    if message.kwargs:
        return message.kwargs
    first = message.args[0] if message.args else None
    return first if isinstance(first, Mapping) else {}


def character_id_of(message: Message[Any] | MessageProxy | None) -> int | None:
    """Return the job's `character_id`, or None if its data has no valid one."""
    if message is None:
        return None
    try:
        found = payload_of(message).get("character_id")
    except BaseException as error:
        if came_from_outside(error):
            raise
        return None
    return int.__index__(found) if isinstance(found, int) and not isinstance(found, bool) else None


def attempt_of(message: Message[Any] | MessageProxy) -> int:
    """Return the number of this attempt, from 1. Call it before the Retries middleware increases the count."""
    if isinstance(message, LeasedMessage):
        return message.lease.attempt
    retries = message.options.get("retries", 0)
    return retries + 1 if isinstance(retries, int) else 1


def facts_of(message: Message[Any] | MessageProxy) -> dict[str, Any]:
    """Return the fields of every log line and error report about this run."""
    facts = {
        "job_id": message.message_id,
        "queue": message.queue_name,
        "actor": message.actor_name,
        "attempt": attempt_of(message),
    }
    character_id = character_id_of(message)
    return facts if character_id is None else {**facts, "character_id": character_id}
