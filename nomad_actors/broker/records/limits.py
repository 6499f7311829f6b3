"""A queue's pauses and limits, which keep jobs from starting or from being added."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum


class PauseScope(StrEnum):
    """The kinds of pauses; each is resumed separately."""

    QUEUE = "queue"
    #: All ESI queues are paused.
    ESI = "esi"

    @property
    def field(self) -> str:
        """The field of the queue's `meta` that stores it."""
        return "paused" if self is PauseScope.QUEUE else f"paused:{self.value}"


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of a queue: since when, until when (None: until it is resumed), why and by whom."""

    scope: PauseScope
    since_ms: int
    until_ms: int | None
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Limits:
    """A queue's limits; None stands for no limit.

    They are the concurrency over all hosts that an operator set (else the declared one applies), the number of starts
    in a period, and the number of waiting and delayed jobs above which more are refused.
    """

    concurrency: int | None = None
    starts: int | None = None
    period_ms: int | None = None
    max_length: int | None = None


NO_LIMITS = Limits()


def unpack_pause(scope: PauseScope, text: bytes) -> Pause | None:
    """Return a stored pause; None if it is missing or cannot be read, in which case it pauses nothing."""
    try:
        fields = json.loads(text)
        since, until = int(fields["since"]), fields.get("until")
        until_ms = None if until is None else int(until)
        return Pause(scope, since, until_ms, str(fields.get("reason", "")), str(fields.get("by", "")))
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError, RecursionError):
        return None


def unpack_limits(concurrency: bytes, rate: bytes, max_length: bytes) -> Limits:
    """Return the stored limits; one that cannot be read limits nothing."""
    starts, _, period = rate.partition(b" ")
    starts, period = (starts, period) if starts.isdigit() and period.isdigit() else (b"", b"")
    return Limits(*(int(text) if text.isdigit() else None for text in (concurrency, starts, period, max_length)))
