"""Buttons for what keeps jobs from starting: pauses, the switch of all that talks to ESI, limits."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from nomad_actors.broker.records.holds import Limits, PauseScope
from nomad_actors.queues.queue import MAX_AT_A_TIME, MAX_LENGTH, MAX_PAUSE_MS, MAX_STARTS

from ..access.actors import current_actor
from ..links import link, queue_path
from ..parts import all_queues
from ..sizes import MAX_REASON_CHARS
from .actions import MINUTE_MS
from .form_action import FormAction, seconds_ms, whole

pages = Blueprint("pages_holds", __name__)

MAX_PAUSE_MINUTES = MAX_PAUSE_MS // MINUTE_MS


@pages.post("/admin/queues/<queue>/pause")
def pause(queue: str) -> Response:
    """Let no job of the queue start."""
    chosen = all_queues().get_queue(queue)
    with FormAction(queue_path(queue)) as form:
        asked, until = _asked()
        chosen.pause(**asked)
        form.done(f"The queue is paused: no job starts {until}; running ones finish.")
    return form.response()


@pages.post("/admin/queues/<queue>/resume")
def resume(queue: str) -> Response:
    """Let jobs start again."""
    queues = all_queues()
    chosen = queues.get_queue(queue)
    with FormAction(queue_path(queue)) as form:
        if request.form.get("scope") == PauseScope.ESI.value:
            form.done(f"What talks to ESI goes on: {', '.join(queues.resume_esi())}.")
        else:
            chosen.resume()
            is_paused = chosen.snapshot(window_seconds=0).is_paused
            form.done("The queue is still paused otherwise." if is_paused else "The queue runs again.")
    return form.response()


@pages.post("/admin/esi/pause")
def pause_esi() -> Response:
    """Let no job start that talks to ESI."""
    with FormAction(link("/admin/")) as form:
        asked, until = _asked()
        form.done(f"What talks to ESI is paused {until}: {', '.join(all_queues().pause_esi(**asked))}.")
    return form.response()


@pages.post("/admin/esi/resume")
def resume_esi() -> Response:
    """Let what talks to ESI go on."""
    with FormAction(link("/admin/")) as form:
        form.done(f"What talks to ESI goes on: {', '.join(all_queues().resume_esi())}.")
    return form.response()


@pages.post("/admin/queues/<queue>/limits")
def limits(queue: str) -> Response:
    """Set all limits of the queue; an empty field lifts one."""
    chosen = all_queues().get_queue(queue)
    with FormAction(queue_path(queue)) as form:
        period = request.form.get("seconds", "").strip()
        chosen.set_limits(
            Limits(
                concurrency=_limit("concurrency", MAX_AT_A_TIME),
                starts=_limit("starts", MAX_STARTS),
                period_ms=seconds_ms("seconds", period, MAX_PAUSE_MS) if period else None,
                max_length=_limit("length", MAX_LENGTH),
            )
        )
        form.done("The limits hold at once, everywhere.")
    return form.response()


def _asked() -> tuple[dict[str, Any], str]:
    """Return what a form says of a pause, and until when in words.

    Raises `BadInput`.
    """
    text = request.form.get("minutes", "").strip()
    minutes = whole("minutes", text, 1, MAX_PAUSE_MINUTES) if text else None
    reason = request.form.get("reason", "").strip()[:MAX_REASON_CHARS]
    asked = {"reason": reason, "by": current_actor().name, "for_ms": None if minutes is None else minutes * MINUTE_MS}
    return asked, "until it is resumed" if minutes is None else f"for {minutes} minutes"


def _limit(name: str, most: int) -> int | None:
    text = request.form.get(name, "").strip()
    return whole(name, text, 1, most) if text else None
