"""The text that describes a pause and the command that ends it, for health, doctor and `nomad`."""

from __future__ import annotations

from datetime import UTC, datetime

from ..broker.records.limits import Pause, PauseScope


def describe(pause: Pause) -> str:
    """Return what is paused, since when, by whom, why, and until when."""
    what = "paused" if pause.scope is PauseScope.QUEUE else "paused with all ESI queues"
    who = f" by {pause.by}" if pause.by else ""
    why = f" ({pause.reason})" if pause.reason else ""
    until = f"until {_at(pause.until_ms)}" if pause.until_ms is not None else "until it is resumed"
    return f"{what} since {_at(pause.since_ms)}{who}{why}, {until}"


def resume_command(queue: str, scope: PauseScope) -> str:
    """Return the command that ends only the queue's pause of this scope."""
    return f"nomad resume {queue if scope is PauseScope.QUEUE else '--esi'}"


def _at(ms: float) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
