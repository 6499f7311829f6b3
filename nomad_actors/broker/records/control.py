"""The messages on a worker's control key: a cancel, or a nudge to update what it waits for."""

from __future__ import annotations

import struct

from . import MAX_ID_BYTES

#: Wakes a worker's waiter, so that it updates what it waits for.
NUDGE = b"1"
_CANCEL = struct.Struct(">cH")


def pack_cancel(stored_id: bytes, reason: str) -> bytes:
    """Return the message that cancels a job of the queue that the control key belongs to."""
    if len(stored_id) > MAX_ID_BYTES:
        # No job has an id of this length.
        return NUDGE
    return _CANCEL.pack(b"c", len(stored_id)) + stored_id + reason.encode()


def unpack_cancel(message: bytes) -> tuple[bytes, str] | None:
    """Return the stored id of the job to cancel and the reason; None if the message is not a cancel."""
    try:
        kind, length = _CANCEL.unpack_from(message)
    except struct.error:
        return None
    if kind != b"c":
        return None
    at = _CANCEL.size + length
    return message[_CANCEL.size : at], message[at:].decode(errors="replace")
