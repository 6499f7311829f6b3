"""Why jobs fail, told apart: failures with one fingerprint have one cause.

A fault is its job type, the error's class, its message without what differs from run to run, and the innermost frame of
code that is neither Python's nor a library's.
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
from .record import MAX_SECRET_CHARS, instant
from .tags import TERM_BYTES

#: What is kept of a message.
MAX_WORDS = 300

_STORED = struct.Struct(">ddI")
_VARIABLE = (
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{12,}\b"), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
#: What runs a job is on every traceback, and is never the cause.
_RUNNERS = (str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "queues" / "registry.py"))


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed jobs with one cause: how many are kept, how often it was seen in all, when first and last (ms)."""

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
        """Return the fault in one line."""
        kind = f"{self.error_class}: " if self.error_class else ""
        where = f" ({self.frame})" if self.frame else ""
        return f"{self.job_type}: {kind}{self.message}{where}"


def pack(job_type: str, error_class: str, message: str, trace: TracebackType | None = None) -> bytes:
    """Return a fault as the settling script takes it: its term, then its words."""
    words = {
        "jobType": job_type,
        "errorClass": error_class,
        "message": normalised(message),
        "frame": own_frame(trace),
    }
    text = json.dumps(words, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=TERM_BYTES).digest() + text.encode()


def unpack(term: bytes, stored: bytes, count: int) -> FailureGroup:
    """Return a fault as it is kept, with how many jobs have it now; without words where they cannot be read."""
    first, last, seen = _STORED.unpack_from(stored.ljust(_STORED.size, b"\0"))
    try:
        words = json.loads(stored[_STORED.size :])
    except (ValueError, RecursionError):
        words = None
    told = words if isinstance(words, dict) else {"message": "what is kept of this cause cannot be read"}
    return FailureGroup(
        term.hex(),
        str(told.get("jobType", "")),
        str(told.get("errorClass", "")),
        str(told.get("message", "")),
        str(told.get("frame", "")),
        count,
        seen,
        instant(first),
        instant(last),
    )


def normalised(message: str) -> str:
    """Return a message without secrets, and without the ids and numbers that differ from run to run."""
    # Further than is kept, as `records.cut` does.
    message = redact(message[: MAX_WORDS + MAX_SECRET_CHARS])[: 4 * MAX_WORDS]
    for pattern, word in _VARIABLE:
        message = pattern.sub(word, message)
    return message[:MAX_WORDS]


def own_frame(trace: TracebackType | None) -> str:
    """Return `file:function` of the innermost frame that is the application's own; "" when none is."""
    # Not `extract_tb`: that asks the modules' loaders for their source.
    for code in [frame.f_code for frame, _ in traceback.walk_tb(trace)][::-1]:
        if not code.co_filename.startswith((*_LIBRARIES, *_RUNNERS, "<")):
            path = Path(code.co_filename)
            return f"{path.parent.name}/{path.name}:{code.co_name}"
    return ""
