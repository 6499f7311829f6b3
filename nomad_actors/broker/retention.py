"""How many ended jobs a queue keeps, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Retention:
    """How many completed and failed jobs are kept, and for how long (ms); whichever bound is reached first counts."""

    completed: int = 1_000
    completed_ms: int = 24 * HOUR_MS
    failed: int = 10_000
    failed_ms: int = 168 * HOUR_MS

    def __post_init__(self) -> None:
        """Refuse numbers that are none: raises `ValueError`."""
        for name in ("completed", "completed_ms", "failed", "failed_ms"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value < 2**32 * 1000:
                raise ValueError(f"retention: {name} {value!r} is unusable (accepted: a whole number from 0)")
