"""How many ended jobs a queue keeps, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from .logs.foreign_text import safe_repr

HOUR_MS = 3_600_000
#: Four bytes hold a count in Redis.
MAX_COUNT = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Retention:
    """How many completed and failed jobs are kept, and for how long (ms); the bound that is reached first applies."""

    completed: int = 1_000
    completed_ms: int = 24 * HOUR_MS
    failed: int = 10_000
    failed_ms: int = 168 * HOUR_MS

    def __post_init__(self) -> None:
        for name in ("completed", "completed_ms", "failed", "failed_ms"):
            value = getattr(self, name)
            high = MAX_COUNT if name in ("completed", "failed") else MAX_COUNT * 1000
            if not isinstance(value, int) or not 0 <= value <= high:
                allowed = f"allowed: a whole number from 0 to {high}"
                raise ValueError(f"retention: {name} {safe_repr(value, 200)} is invalid ({allowed})")
