"""How jobs and their related data are stored in Redis; only this package packs and unpacks them.

A job's record is a fixed binary header, the encoded message, and the story of its events.

Layout (big-endian), kept in step with ``scripts/lib/record.lua``::

    header   version B · priority h · attempts H · crashes B · flags B
             created d · ready d · started d · finished d   (ms since the epoch, 0 for never)
             call 8 bytes · token 14 bytes · body length I
    tags     length B and the layout of `tags`, only in a record of version 2
    body     the message without the fields that the key and the header have
    story    events: kind B · at d · length I · data

One hash entry per job takes a third of the memory of BullMQ's hash per job. ``call`` identifies the enqueueing call and
``token`` the lease that last settled the job, so that a repeated enqueue or settle is recognised.
"""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from dramatiq import Message
from dramatiq.encoder import JSONEncoder
from dramatiq.message import get_encoder

from ...logs.foreign_text import came_from_outside, safe_repr, safe_str
from ...logs.redaction import hide_in_data, redact
from ..errors import BadPriority, UnreadableBody
from ..keys import MAX_PRIORITY

#: Without and with tags.
VERSIONS = (1, 2)
HEADER = struct.Struct(">BhHBBdddd8s14sI")
EVENT = struct.Struct(">BdI")
LEASE = struct.Struct(">14sdd")
DUE = struct.Struct(">d")
TOKEN = struct.Struct(">8sIH")
#: The length of an id is sent in two bytes, to a worker and in a bulk.
MAX_ID_BYTES = 65_535
#: A lease's token begins with its worker's id.
WORKER_ID_BYTES = 8

#: A longer traceback is cut to its end, which names the error.
MAX_TRACEBACK_CHARS = 6_000
MAX_MESSAGE_CHARS = 2_000
#: How far beyond its stored length a text is searched for secrets; an access token is shorter.
MAX_SECRET_CHARS = 4_000
#: A longer result is replaced by a note of its size.
MAX_RESULT_BYTES = 65_536
#: A result for `get_result` is never cut; a longer one is refused.
MAX_STORED_RESULT_BYTES = 1_048_576

#: The end of the year 9999, the last time that Python's datetime can represent.
MAX_INSTANT_MS = 253_402_300_799_000

#: In a record's header, for a message whose own timestamp is invalid.
NO_TIME = -1
#: The option with the time (ms) since when no worker that took the job has known its actor.
UNKNOWN_SINCE = "nomad_unknown_since_ms"
#: The option with an id that the caller chose: it is part of the request that an idempotency key stands for.
OWN_ID = "nomad_own_id"
_COMPACT = json.JSONEncoder(separators=(",", ":"))
#: Options that Retries sets for its next run, or for readers that get the same from the story.
_BOOKKEEPING = ("eta", "traceback", "requeue_timestamp", "idempotency_key", OWN_ID, UNKNOWN_SINCE)


class Flag(enum.IntFlag):
    """Bits of the header's flags."""

    SKIPPED = 1
    CANCELLED = 4
    FAILURE_GROUP = 8


class EventKind(enum.IntEnum):
    """The kinds of events in a story; the event's data is in brackets."""

    ENQUEUED = 1  # once more [-]
    STARTED = 2  # [worker's name]
    ERROR = 3  # [JSON: class, message, traceback]
    RETRY = 4  # [due, double]
    COMPLETED = 5  # [result, JSON]
    FAILED = 6  # [reason]
    RELEASED = 7  # [-]
    PROMOTED = 8  # [-]
    CUT = 9  # [number of events left out, JSON]
    SKIPPED = 10  # [-]
    DEFERRED = 11  # [due, double; reason]
    CANCELLED = 12  # [reason]
    RECOVERED = 13  # [token; gone or unheard]
    LATE = 14  # [token]: the worker was not lost, the crash does not count


_KNOWN_KINDS = frozenset(int(kind) for kind in EventKind)


class Header(NamedTuple):
    """The fixed part of a record."""

    priority: int
    attempts: int
    crashes: int
    flags: int
    created_ms: float
    ready_ms: float
    started_ms: float
    finished_ms: float
    token: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job's story."""

    kind: EventKind
    at_ms: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A stored job whose body and story are still encoded."""

    header: Header
    body: bytes
    story: bytes

    def events(self) -> Iterator[Event]:
        """Yield the story's events, oldest first, without unknown kinds (of a newer release) and a cut last event."""
        offset = 0
        while offset + EVENT.size <= len(self.story):
            kind, at_ms, length = EVENT.unpack_from(self.story, offset)
            offset += EVENT.size
            if kind in _KNOWN_KINDS:
                yield Event(EventKind(kind), instant(at_ms), self.story[offset : offset + length])
            offset += length


def unpack(value: bytes) -> Record:
    """Split a stored record. Raises `UnreadableBody` if the value is not a record."""
    header, body = unpack_head(value)
    readable = header._replace(
        created_ms=instant(header.created_ms),
        ready_ms=instant(header.ready_ms),
        started_ms=instant(header.started_ms),
        finished_ms=instant(header.finished_ms),
    )
    return Record(readable, value[body], value[body.stop :])


def instant(at_ms: float) -> float:
    """Return a stored time; 0 if it is out of range, so that code that shows it cannot fail."""
    return at_ms if 0 <= at_ms <= MAX_INSTANT_MS else 0.0


def created_ms(timestamp: object) -> int:
    """Return a message's timestamp as a record stores it; `NO_TIME` if it is invalid, which the worker reports."""
    if isinstance(timestamp, (int, float)) and not isinstance(timestamp, bool) and 0 <= timestamp <= MAX_INSTANT_MS:
        return int(timestamp)
    return NO_TIME


def lease_since(lease: bytes) -> float | None:
    """Return when a lease began (ms); None if the value is not a lease."""
    return instant(LEASE.unpack_from(lease)[1]) if len(lease) >= LEASE.size else None


def unpack_head(value: bytes) -> tuple[Header, slice]:
    """Return a record's header and the position of its body. Raises `UnreadableBody` if the value is no record."""
    try:
        version, priority, attempts, crashes, flags, created, ready, started, finished, _, token, length = (
            HEADER.unpack_from(value)
        )
    except struct.error as error:
        raise UnreadableBody("not a job's record: too short", value, error) from None
    begin = HEADER.size
    if version == 2:
        begin += 1 + (value[begin] if len(value) > begin else 0)
    if version not in VERSIONS or len(value) < begin + length:
        raise UnreadableBody(f"not a job's record of version {' or '.join(map(str, VERSIONS))}", value)
    header = Header(priority, attempts, crashes, flags, created, ready, started, finished, token)
    return header, slice(begin, begin + length)


def pack_id(message_id: str) -> bytes:
    """Return the stored form of an id: 16 bytes for a UUID in its usual spelling, else its UTF-8 text."""
    if len(message_id) == 36:
        # The same as uuid.UUID(message_id).bytes, in a quarter of its time.
        try:
            raw = bytes.fromhex(message_id.replace("-", ""))
        except ValueError:
            return message_id.encode(errors="backslashreplace")
        if len(raw) == 16 and unpack_id(raw) == message_id:
            return raw
    encoded = message_id.encode(errors="backslashreplace")
    # A text of 16 bytes would read back as a UUID: mark it.
    return b"=" + encoded if len(encoded) == 16 or encoded[:1] == b"=" else encoded


def unpack_id(stored: bytes) -> str:
    """Return the id that `pack_id` stored."""
    if len(stored) == 16:
        # The same as str(uuid.UUID(bytes=stored)), in a quarter of its time.
        text = stored.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return (stored[1:] if stored[:1] == b"=" else stored).decode(errors="replace")


def pack_body(message: Message[Any], **options: Any) -> bytes:
    """Encode the fields of `message` that its key and header do not have, with `options` added to its own."""
    kept = {k: v for k, v in message.options.items() if k not in _BOOKKEEPING} | options
    fields = {
        "actor_name": message.actor_name,
        "args": message.args,
        "kwargs": message.kwargs,
        "options": kept,
    }
    encoder = get_encoder()
    # Dramatiq's encoder creates a new encoder of the standard library for each message.
    return _COMPACT.encode(fields).encode() if type(encoder) is JSONEncoder else encoder.encode(fields)


def unpack_body(queue: str, message_id: str, header: Header, body: bytes) -> Message[Any]:
    """Return the message of a stored body. Raises `UnreadableBody` with the reason if it is invalid."""
    try:
        fields = get_encoder().decode(body)
    except BaseException as error:
        # An application's encoder may raise anything, and this runs on the thread that settles.
        if came_from_outside(error):
            raise
        cause = error if isinstance(error, Exception) else None
        raise UnreadableBody(f"the body cannot be decoded: {safe_str(error)}", body, cause) from error
    _check_shape(fields, body)
    options = fields["options"]
    # With an `eta` in the options, Dramatiq's Worker would delay the job itself.
    options.pop("eta", None)
    return Message(
        queue_name=queue,
        actor_name=str.__str__(fields["actor_name"]),
        args=tuple(fields["args"]),
        kwargs=fields["kwargs"],
        options=options,
        message_id=message_id,
        message_timestamp=int(header.created_ms),
    )


_SHAPE: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("actor_name", str),
    ("args", (list, tuple)),
    ("kwargs", dict),
    ("options", dict),
)


def _check_shape(fields: Any, body: bytes) -> None:
    if not isinstance(fields, dict):
        raise UnreadableBody(f"the body is not an object but of type {type(fields).__name__}", body)
    for name, allowed in _SHAPE:
        if name not in fields:
            raise UnreadableBody(f"the body has no {name!r}", body)
        if not isinstance(fields[name], allowed):
            kind = type(fields[name]).__name__
            raise UnreadableBody(f"the body's {name!r} is of type {kind}", body)


def check_priority(priority: object) -> int:
    """Return `priority`, or raise `BadPriority` if it is not a whole number in the allowed range."""
    if isinstance(priority, int) and not isinstance(priority, bool) and abs(priority) <= MAX_PRIORITY:
        return int(priority)
    raise BadPriority(
        f"priority {safe_repr(priority, 200)} is not a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}"
    )


def pack_error(error_class: str, message: str, traceback: str) -> bytes:
    """Return the stored form of an error: redacted, bounded, and marked where it was cut."""
    traceback = _end_of(traceback, MAX_TRACEBACK_CHARS)
    fields = {"class": error_class, "message": cut(message), "traceback": traceback}
    return json.dumps(fields, separators=(",", ":")).encode()


def cut(text: str, most: int = MAX_MESSAGE_CHARS) -> str:
    """Return the stored form of `text`: redacted, at most `most` characters, and marked if it was cut.

    Half a surrogate pair is written as an escape.
    """
    # Redact more than is stored, to hide a secret completely even if the cut falls into it.
    kept, rest = text[: most + MAX_SECRET_CHARS], len(text) - most - MAX_SECRET_CHARS
    kept = redact(kept.encode(errors="backslashreplace").decode())
    if len(kept) <= most and rest <= 0:
        return kept
    return f"{kept[:most]}… [{len(kept[most:]) + max(0, rest)} characters left out]"


def _end_of(text: str, most: int) -> str:
    left_out = len(text) - most - MAX_SECRET_CHARS
    kept = redact(text[max(0, left_out) :])
    left_out = max(0, left_out) + max(0, len(kept) - most)
    return f"[{left_out} characters left out]\n{kept[-most:]}" if left_out else kept


def pack_result(result: object) -> bytes:
    """Return a result as JSON, bounded, with its secrets hidden; fields and types stay as they are.

    NaN and Infinity are written as Python and Dramatiq's encoder write them.

    Raises `TypeError` or `ValueError` if it has no JSON form.
    """
    encoded = json.dumps(hide_in_data(result), separators=(",", ":")).encode()
    if len(encoded) > MAX_RESULT_BYTES:
        note = {"truncated": True, "bytes": len(encoded), "limit": MAX_RESULT_BYTES}
        return json.dumps(note).encode()
    return encoded
