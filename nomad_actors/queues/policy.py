"""How urgent a job is, and how long it waits for its next attempt."""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import BadInput
from ..logs.foreign_text import safe_repr

#: Dramatiq's own cap on a retry's delay.
MAX_BACKOFF_MS = 7 * 86_400_000


class Priority(enum.IntEnum):
    """How urgent a job is; the lower number always starts first."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4
    BATCH = 5

    @classmethod
    def parse(cls, value: object) -> Priority:
        """Return the priority of a name or number. Raises `BadInput` with the allowed names for anything else."""
        if isinstance(value, str) and value.upper() in cls.__members__:
            return cls[value.upper()]
        if isinstance(value, str) and value in {str(int(each)) for each in cls}:
            return cls(int(value))
        if isinstance(value, int) and not isinstance(value, bool) and value in cls._value2member_map_:
            return cls(value)
        allowed = [f"{p.name} ({p.value})" for p in cls]
        raise BadInput(f"unknown priority {safe_repr(value, 200)} (allowed: {', '.join(allowed)})", accepted=allowed)


#: A priority as callers give it; `Priority.parse` also takes names in lower case and numbers as text.
PriorityValue: TypeAlias = Priority | Literal["CRITICAL", "HIGH", "NORMAL", "LOW", "BATCH"] | Literal[1, 2, 3, 4, 5]


@dataclass(frozen=True)
class Backoff:
    """How long a failed job waits before its next attempt: `delay_ms` each time, or doubling from it."""

    type: Literal["exponential", "fixed"]
    delay_ms: int

    @classmethod
    def parse(cls, value: object) -> Backoff:
        """Return the backoff of `{"type": "exponential" | "fixed", "delay": ms}`.

        Raises `BadInput` for anything else.
        """
        if isinstance(value, Backoff):
            return value
        if isinstance(value, Mapping) and set(value) == {"type", "delay"}:
            kind, delay = value["type"], value["delay"]
            is_int = isinstance(delay, int) and not isinstance(delay, bool)
            if kind in ("exponential", "fixed") and is_int and 0 <= delay <= MAX_BACKOFF_MS:
                return cls(kind, delay)
        allowed = f'{{"type": "exponential" or "fixed", "delay": 0 to {MAX_BACKOFF_MS} ms}}'
        raise BadInput(f"invalid backoff {safe_repr(value, 200)} (allowed: {allowed})", accepted=[allowed])

    def as_json(self) -> dict[str, object]:
        """Return the form that callers pass and the admin shows."""
        return {"type": self.type, "delay": self.delay_ms}

    def delay_after(self, attempts_made: int) -> int:
        """Return the milliseconds to wait after `attempts_made` (1 or more) attempts, with jitter."""
        if self.type == "fixed":
            return int(self.delay_ms * random.uniform(1, 1.1))
        doubled = self.delay_ms * 2 ** min(attempts_made - 1, 32)
        return min(int(doubled * random.uniform(1, 2)), MAX_BACKOFF_MS)


DEFAULT_BACKOFF = Backoff("exponential", 2000)
