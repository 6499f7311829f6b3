"""What log lines and error reports say about the job that a message carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dramatiq import Message, MessageProxy

from ..broker.worker.message import LeasedMessage
from ..logs.foreign_text import came_from_outside


def payload_of(message: Message[Any] | MessageProxy) -> Mapping[str, Any]:
    """Return the job's data: the keyword arguments, or the mapping that is the first argument; empty for others."""
    if message.kwargs:
        return message.kwargs
    first = message.args[0] if message.args else None
    return first if isinstance(first, Mapping) else {}


def character_id_of(message: Message[Any] | MessageProxy | None) -> int | None:
    """Return the character that the job is about; None when its data names none."""
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
    """Return which attempt this run is, 1 for the first; to be asked before the retries middleware counts on."""
    if isinstance(message, LeasedMessage):
        return message.lease.attempt
    retries = message.options.get("retries", 0)
    return retries + 1 if isinstance(retries, int) else 1


def facts_of(message: Message[Any] | MessageProxy) -> dict[str, Any]:
    """Return what every line and report about this run says."""
    facts = {
        "job_id": message.message_id,
        "queue": message.queue_name,
        "actor": message.actor_name,
        "attempt": attempt_of(message),
    }
    character_id = character_id_of(message)
    return facts if character_id is None else {**facts, "character_id": character_id}
