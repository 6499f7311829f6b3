"""The buttons for pauses, the ESI switch and limits."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from nomad_actors.broker.records.limits import Limits, PauseScope
from nomad_actors.logs.counted import counted
from nomad_actors.queues.queue import MAX_CONCURRENCY, MAX_LENGTH, MAX_PAUSE_MS, MAX_STARTS

from ..access.actors import current_actor
from ..current_app import all_queues
from ..inputs import MAX_REASON_CHARS
from .actions import MINUTE_MS
from .buttons import button, require_int, seconds_ms

pages = Blueprint("pages_pauses", __name__)

MAX_PAUSE_MINUTES = MAX_PAUSE_MS // MINUTE_MS
_STILL_PAUSED = "The queue's own pause has ended, but the queue is still paused together with all ESI queues."


@pages.post("/admin/queues/<queue>/pause")
@button
def pause(queue: str) -> str:
    chosen = all_queues().get_queue(queue)
    options, until = _pause_of_form()
    chosen.pause(**options)
    return f"The queue is paused {until}. No job starts; running jobs finish."


@pages.post("/admin/queues/<queue>/resume")
@button
def resume(queue: str) -> str:
    """Resume a queue, or all ESI queues."""
    chosen = all_queues().get_queue(queue)
    if request.form.get("scope") == PauseScope.ESI.value:
        return _resume_esi()
    chosen.resume()
    return _STILL_PAUSED if chosen.snapshot(window_seconds=0).is_paused else "The queue is running again."


@pages.post("/admin/esi/pause")
@button
def pause_esi() -> str:
    options, until = _pause_of_form()
    return f"ESI queues are paused {until}: {', '.join(all_queues().pause_esi(**options))}."


@pages.post("/admin/esi/resume")
@button
def resume_esi() -> str:
    return _resume_esi()


@pages.post("/admin/queues/<queue>/limits")
@button
def limits(queue: str) -> str:
    """Set all limits of the queue; an empty field removes a limit."""
    chosen = all_queues().get_queue(queue)
    period = request.form.get("seconds", "").strip()
    chosen.set_limits(
        Limits(
            concurrency=_optional_int("concurrency", MAX_CONCURRENCY),
            starts=_optional_int("starts", MAX_STARTS),
            period_ms=seconds_ms("seconds", period, MAX_PAUSE_MS) if period else None,
            max_length=_optional_int("length", MAX_LENGTH),
        )
    )
    return "The limits are set. They apply to all workers immediately."


def _resume_esi() -> str:
    return f"ESI queues are resumed: {', '.join(all_queues().resume_esi())}."


def _pause_of_form() -> tuple[dict[str, Any], str]:
    """Return the arguments of a pause, and its duration in words."""
    minutes = _optional_int("minutes", MAX_PAUSE_MINUTES)
    reason = request.form.get("reason", "").strip()[:MAX_REASON_CHARS]
    for_ms = None if minutes is None else minutes * MINUTE_MS
    duration = "until it is resumed" if minutes is None else f"for {counted(minutes, 'minute')}"
    return {"reason": reason, "by": current_actor().name, "for_ms": for_ms}, duration


def _optional_int(name: str, most: int) -> int | None:
    text = request.form.get(name, "").strip()
    return require_int(name, text, 1, most) if text else None
