"""What is pushed to a worker's control key: a cancel, or a nudge to look again what to wait for."""

from __future__ import annotations

import struct

from .record import MAX_ID_BYTES

#: Says to a worker only that it shall look again what to wait for.
NUDGE = b"1"
_CANCEL = struct.Struct(">cH")


def pack_cancel(stored_id: bytes, reason: str) -> bytes:
    """Return what tells a worker to cancel a job of the queue whose control key it comes by."""
    if len(stored_id) > MAX_ID_BYTES:
        # No job has such an id.
        return NUDGE
    return _CANCEL.pack(b"c", len(stored_id)) + stored_id + reason.encode()


def unpack_cancel(word: bytes) -> tuple[bytes, str] | None:
    """Return the stored id of the job to cancel and the reason; None if this is no such word."""
    try:
        kind, length = _CANCEL.unpack_from(word)
    except struct.error:
        return None
    if kind != b"c":
        return None
    at = _CANCEL.size + length
    return word[_CANCEL.size : at], word[at:].decode(errors="replace")
