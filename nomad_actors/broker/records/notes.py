"""The progress and the log lines that a job reports while it runs.

Both are stored outside the record, so that a job with many log lines does not push its errors out of its story. The
layout is that of ``scripts/report.lua``.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field

from . import cut, instant

#: A longer line is cut and marked as cut.
MAX_LINE_CHARS = 1_000
MAX_NOTE_CHARS = 200

_HEAD = struct.Struct(">14sIII")
_LINE = struct.Struct(">dI")


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job: `done` of `total`, and a short note."""

    done: float
    total: float
    note: str = ""

    @property
    def percent(self) -> float:
        """The progress in percent, from 0 to 100."""
        return 100.0 if self.total <= 0 else max(0.0, min(100.0, 100.0 * self.done / self.total))

    def pack(self) -> bytes:
        """Return the stored form, with the note redacted and bounded."""
        fields = {"done": self.done, "total": self.total, "note": cut(self.note)[:MAX_NOTE_CHARS]}
        return json.dumps(fields, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's log."""

    at_ms: float
    text: str


@dataclass(frozen=True, slots=True)
class Notes:
    """A job's progress and log lines; `dropped` counts the oldest lines, which were left out."""

    progress: Progress | None = None
    dropped: int = 0
    lines: list[LogLine] = field(default_factory=list)


def unpack(value: bytes) -> Notes:
    """Return a job's stored notes; empty ones if there are none or they cannot be read."""
    if len(value) < _HEAD.size:
        return Notes()
    _, _, dropped, length = _HEAD.unpack_from(value)
    offset = _HEAD.size + length
    progress = _unpack_progress(value[_HEAD.size : offset])
    lines = []
    while offset + _LINE.size <= len(value):
        at_ms, size = _LINE.unpack_from(value, offset)
        offset += _LINE.size
        lines.append(LogLine(instant(at_ms), value[offset : offset + size].decode(errors="replace")))
        offset += size
    return Notes(progress, dropped, lines)


def _unpack_progress(stored: bytes) -> Progress | None:
    try:
        fields = json.loads(stored)
        progress = Progress(float(fields["done"]), float(fields["total"]), str(fields.get("note", "")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return progress if math.isfinite(progress.done) and math.isfinite(progress.total) else None


def cut_line(text: str) -> bytes:
    """Return the stored form of a line: redacted, bounded, and marked if it was cut."""
    return cut(text, MAX_LINE_CHARS).encode()
