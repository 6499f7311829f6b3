"""Pauses, as far as the queues keep them: today that a queue is paused, and since when.

The one place of the commands that knows how a queue is paused: `Queue.pause(reason=, by=, for_ms=)` and
`Queue.pauses()` are used where the queue has them.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from ..errors import BadInput

if TYPE_CHECKING:
    from ..queue_control import Queue


def pause(queue: Queue, *, reason: str, by: str, for_ms: int | None) -> None:
    """Pause a queue.

    Raises `BadInput` for an end, which queues do not keep yet, `Unavailable`.
    """
    act: Any = queue.pause
    if "for_ms" in inspect.signature(act).parameters:
        act(reason=reason, by=by, for_ms=for_ms)
        return
    if for_ms is not None or reason:
        raise BadInput("--for and --reason cannot be kept with a pause by this release (accepted: neither)")
    act()


def pauses(queue: Queue) -> list[dict[str, Any]]:
    """Return a queue's pauses as JSON tells them; none when it runs."""
    ask: Any = getattr(queue, "pauses", None)
    if ask is not None:
        return [
            {"scope": p.scope, "since": p.since_ms, "until": p.until_ms, "by": p.by, "reason": p.reason} for p in ask()
        ]
    if not queue.is_paused():
        return []
    return [{"scope": "queue", "since": None, "until": None, "by": "", "reason": ""}]
