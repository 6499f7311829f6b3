"""The buttons for pauses, the ESI switch and limits."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from nomad_actors.broker.records.limits import Limits, PauseScope
from nomad_actors.logs.counted import counted
from nomad_actors.queues.queue import MAX_CONCURRENCY, MAX_LENGTH, MAX_PAUSE_MS, MAX_STARTS

from ..access.actors import current_actor
from ..current_app import all_queues
from ..sizes import MAX_REASON_CHARS
from ..urls import link, queue_path
from .actions import MINUTE_MS
from .form_action import FormAction, require_int, seconds_ms

pages = Blueprint("pages_pauses", __name__)

MAX_PAUSE_MINUTES = MAX_PAUSE_MS // MINUTE_MS
_STILL_PAUSED = "The queue's own pause has ended, but the queue is still paused together with all ESI queues."


@pages.post("/admin/queues/<queue>/pause")
def pause(queue: str) -> Response:
    """Pause a queue."""
    chosen = all_queues().get_queue(queue)
    with FormAction(queue_path(queue)) as form:
        options, until = _pause_of_form()
        chosen.pause(**options)
        form.done(f"The queue is paused {until}. No job starts; running jobs finish.")
    return form.response()


@pages.post("/admin/queues/<queue>/resume")
def resume(queue: str) -> Response:
    """Resume a queue, or all ESI queues."""
    queues = all_queues()
    chosen = queues.get_queue(queue)
    with FormAction(queue_path(queue)) as form:
        if request.form.get("scope") == PauseScope.ESI.value:
            form.done(f"ESI queues are resumed: {', '.join(queues.resume_esi())}.")
        else:
            chosen.resume()
            is_paused = chosen.snapshot(window_seconds=0).is_paused
            form.done(_STILL_PAUSED if is_paused else "The queue is running again.")
    return form.response()


@pages.post("/admin/esi/pause")
def pause_esi() -> Response:
    """Pause all ESI queues."""
    with FormAction(link("/admin/")) as form:
        options, until = _pause_of_form()
        form.done(f"ESI queues are paused {until}: {', '.join(all_queues().pause_esi(**options))}.")
    return form.response()


@pages.post("/admin/esi/resume")
def resume_esi() -> Response:
    """Resume all ESI queues."""
    with FormAction(link("/admin/")) as form:
        form.done(f"ESI queues are resumed: {', '.join(all_queues().resume_esi())}.")
    return form.response()


@pages.post("/admin/queues/<queue>/limits")
def limits(queue: str) -> Response:
    """Set all limits of the queue; an empty field removes a limit."""
    chosen = all_queues().get_queue(queue)
    with FormAction(queue_path(queue)) as form:
        period = request.form.get("seconds", "").strip()
        chosen.set_limits(
            Limits(
                concurrency=_limit("concurrency", MAX_CONCURRENCY),
                starts=_limit("starts", MAX_STARTS),
                period_ms=seconds_ms("seconds", period, MAX_PAUSE_MS) if period else None,
                max_length=_limit("length", MAX_LENGTH),
            )
        )
        form.done("The limits are set. They apply to all workers immediately.")
    return form.response()


def _pause_of_form() -> tuple[dict[str, Any], str]:
    """Return the arguments of a pause, and its duration in words.

    Raises `BadInput`.
    """
    text = request.form.get("minutes", "").strip()
    minutes = require_int("minutes", text, 1, MAX_PAUSE_MINUTES) if text else None
    reason = request.form.get("reason", "").strip()[:MAX_REASON_CHARS]
    for_ms = None if minutes is None else minutes * MINUTE_MS
    duration = "until it is resumed" if minutes is None else f"for {counted(minutes, 'minute')}"
    return {"reason": reason, "by": current_actor().name, "for_ms": for_ms}, duration


def _limit(name: str, most: int) -> int | None:
    text = request.form.get(name, "").strip()
    return require_int(name, text, 1, most) if text else None
