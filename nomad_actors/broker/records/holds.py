"""What keeps a queue's jobs from starting or from being added: pauses and limits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum


class PauseScope(StrEnum):
    """Which pause it is; to lift one does not lift another."""

    QUEUE = "queue"
    #: All ESI queues are paused.
    ESI = "esi"

    @property
    def field(self) -> str:
        """The field of the queue's `meta` that holds it."""
        return "paused" if self is PauseScope.QUEUE else f"paused:{self.value}"


@dataclass(frozen=True, slots=True)
class Pause:
    """Why no job of a queue starts: since when, until when (None: until it is resumed), by whom."""

    scope: PauseScope
    since_ms: int
    until_ms: int | None
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Limits:
    """A queue's limits, None where there is none.

    Jobs at a time over all hosts, as an operator set it (else what is declared holds); starts in a period; how many
    jobs may be waiting or delayed before more are refused.
    """

    concurrency: int | None = None
    starts: int | None = None
    period_ms: int | None = None
    max_length: int | None = None


NO_LIMITS = Limits()


def unpack_pause(scope: PauseScope, text: bytes) -> Pause | None:
    """Return a pause as Redis keeps it; None for none, and for one that cannot be read: that one pauses nothing."""
    try:
        told = json.loads(text)
        since, until = int(told["since"]), told.get("until")
        return Pause(
            scope, since, None if until is None else int(until), str(told.get("reason", "")), str(told.get("by", ""))
        )
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError, RecursionError):
        return None


def unpack_limits(concurrency: bytes, rate: bytes, max_length: bytes) -> Limits:
    """Return limits as Redis keeps them; one that cannot be read limits nothing."""
    starts, _, period = rate.partition(b" ")
    starts, period = (starts, period) if starts.isdigit() and period.isdigit() else (b"", b"")
    return Limits(*(int(text) if text.isdigit() else None for text in (concurrency, starts, period, max_length)))
