"""How a queue is paused: `Queue.pause(reason=, by=, for_ms=)` where there is one, else without these."""

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
