"""The pauses of a queue, as far as the queues keep them: `Queue.pauses()` where there is one, else since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..broker import JobBroker
from ..queue_control import Queue, redis_errors


@dataclass(frozen=True)
class PauseTold:
    """One pause: of the queue itself, or of everything that speaks to ESI; times in ms, None for not known."""

    scope: str
    since_ms: float | None
    until_ms: float | None = None
    by: str = ""
    reason: str = ""

    def as_json(self) -> dict[str, object]:
        """Return the form that commands tell."""
        times = {"since": _whole(self.since_ms), "until": _whole(self.until_ms)}
        return {"scope": self.scope, **times, "by": self.by, "reason": self.reason}


def pauses(broker: JobBroker, queue: Queue) -> list[PauseTold]:
    """Return a queue's pauses, none when it runs.

    Raises `Unavailable`.
    """
    ask: Any = getattr(queue, "pauses", None)
    if ask is not None:
        return [PauseTold(p.scope, p.since_ms, p.until_ms, p.by, p.reason) for p in ask()]
    with redis_errors():
        since_ms = broker.view(queue.name).counts().paused_since_ms
    return [] if since_ms is None else [PauseTold("queue", since_ms)]


def _whole(ms: float | None) -> int | None:
    return None if ms is None else int(ms)
