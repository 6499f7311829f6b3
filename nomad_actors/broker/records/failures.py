"""Failure groups: failed jobs with the same fingerprint have the same cause.

A group has a job type, the error's class, its message without the parts that differ from run to run, and the innermost
frame of code that belongs neither to Python nor to a library.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ...logs.redaction import redact
from . import MAX_SECRET_CHARS, instant
from .tags import TERM_BYTES

#: The stored length of a message.
MAX_GROUP_MESSAGE_CHARS = 300

_STORED = struct.Struct(">ddI")
_VARIABLE = (
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{12,}\b"), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
#: The code that runs jobs is on every traceback and is never the cause.
_RUNNERS = (str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "queues" / "registry.py"))


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed jobs with one cause: how many are stored, how many were seen in all, first and last time (ms)."""

    fingerprint: str
    job_type: str
    error_class: str
    message: str
    frame: str
    count: int
    seen: int
    first_ms: float
    last_ms: float

    def in_words(self) -> str:
        """Return the group in one line."""
        kind = f"{self.error_class}: " if self.error_class else ""
        where = f" ({self.frame})" if self.frame else ""
        return f"{self.job_type}: {kind}{self.message}{where}"


def pack(job_type: str, error_class: str, message: str, trace: TracebackType | None = None) -> bytes:
    """Return a failure group as an argument of the settling script: its term, then its fields as JSON."""
    fields = {
        "jobType": job_type,
        "errorClass": error_class,
        "message": normalised(message),
        "frame": own_frame(trace),
    }
    text = json.dumps(fields, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=TERM_BYTES).digest() + text.encode()


def unpack(term: bytes, stored: bytes, count: int) -> FailureGroup:
    """Return a stored failure group that `count` jobs belong to; an unreadable one gets a message that says so."""
    first, last, seen = _STORED.unpack_from(stored.ljust(_STORED.size, b"\0"))
    try:
        decoded = json.loads(stored[_STORED.size :])
    except (ValueError, RecursionError):
        decoded = None
    fields = decoded if isinstance(decoded, dict) else {"message": "the stored cause cannot be read"}
    return FailureGroup(
        term.hex(),
        str(fields.get("jobType", "")),
        str(fields.get("errorClass", "")),
        str(fields.get("message", "")),
        str(fields.get("frame", "")),
        count,
        seen,
        instant(first),
        instant(last),
    )


def normalised(message: str) -> str:
    """Return a message without secrets, and without the ids and numbers that differ from run to run."""
    # Redact more than is stored, as `records.cut` does.
    message = redact(message[: MAX_GROUP_MESSAGE_CHARS + MAX_SECRET_CHARS])[: 4 * MAX_GROUP_MESSAGE_CHARS]
    for pattern, word in _VARIABLE:
        message = pattern.sub(word, message)
    return message[:MAX_GROUP_MESSAGE_CHARS]


def own_frame(trace: TracebackType | None) -> str:
    """Return `file:function` of the innermost frame of the application's own code; "" if there is none."""
    # Not `extract_tb`, which has the modules' loaders read their source.
    for code in [frame.f_code for frame, _ in traceback.walk_tb(trace)][::-1]:
        if not code.co_filename.startswith((*_LIBRARIES, *_RUNNERS, "<")):
            path = Path(code.co_filename)
            return f"{path.parent.name}/{path.name}:{code.co_name}"
    return ""
