"""A new job for a queue: a message of Dramatiq, checked and encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dramatiq import Actor, Message

from .. import records
from ..errors import BadOption
from ..records import MAX_ID_BYTES, OWN_ID, check_priority, pack_body, pack_id
from ..records.tags import pack_extra, pack_idempotency, terms, unique


@dataclass(frozen=True, slots=True)
class PackedJob:
    """A new job for a queue; `call` identifies the enqueueing call (8 bytes), `delay_ms` counts from its arrival."""

    message: Message[Any]
    job_id: bytes
    call: bytes
    priority: int
    delay_ms: int
    created_ms: int
    body: bytes
    #: Its terms, unique key and idempotency key (`records.tags`).
    extra: bytes = b""

    @classmethod
    def of(cls, message: Message[Any], *, call: bytes, actor: Actor[Any, Any] | None, delay_ms: int) -> PackedJob:
        """Pack `message` for its queue; `actor`, if known here, has the defaults of its options.

        Raises `BadPriority`, `BadOption`, and what the encoder raises for arguments that it cannot encode.
        """
        options = message.options
        # Check it before the body is encoded, because the values may be any objects.
        unique_key = unique(options)
        priority = check_priority(options.get("priority", actor.priority if actor else 0))
        body = pack_body(message)
        indexed = actor.options.get("indexed", ()) if actor else ()
        key = options.get("idempotency_key")
        idempotency = b""
        if key is not None:
            request = b"%d/%d/%s/%s" % (priority, delay_ms, options.get(OWN_ID, "").encode(), body)
            idempotency = pack_idempotency(key, request)
        extra = pack_extra(terms(message.kwargs, indexed) if indexed else (), unique_key, idempotency)
        job_id = pack_id(message.message_id)
        if len(job_id) > MAX_ID_BYTES:
            raise BadOption(f"message_id of {len(job_id)} bytes is too long (allowed: up to {MAX_ID_BYTES})")
        created_ms = records.created_ms(message.message_timestamp)
        return cls(message, job_id, call, priority, delay_ms, created_ms, body, extra)

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self.message.queue_name

    def arguments(self) -> tuple[bytes | int, ...]:
        return (self.job_id, self.call, self.priority, self.delay_ms, self.created_ms, self.body, self.extra)
