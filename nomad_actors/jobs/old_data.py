"""Since when the settings keep data."""

from __future__ import annotations

from ..settings import Settings
from ..store.prune import Cutoffs

_DAY_MS = 86_400_000


def old_before(settings: Settings, now_ms: int) -> Cutoffs:
    """Return the times before which documents and history are too old."""
    return Cutoffs(_before(settings.keep_documents_days, now_ms), _before(settings.keep_history_days, now_ms))


def _before(days: int | None, now_ms: int) -> int | None:
    return None if days is None else now_ms - days * _DAY_MS
