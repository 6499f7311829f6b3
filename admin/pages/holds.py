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
from .doing import done, seconds_ms, whole

pages = Blueprint("pages_holds", __name__)

MAX_PAUSE_MINUTES = MAX_PAUSE_MS // MINUTE_MS


@pages.post("/admin/queues/<queue>/pause")
def pause(queue: str) -> Response:
    """Let no job of the queue start."""
    chosen = all_queues().get_queue(queue)

    def act() -> str:
        asked, until = _asked()
        chosen.pause(**asked)
        return f"The queue is paused: no job starts {until}; running ones finish."

    return done(act, queue_path(queue))


@pages.post("/admin/queues/<queue>/resume")
def resume(queue: str) -> Response:
    """Let jobs start again."""
    queues = all_queues()
    chosen = queues.get_queue(queue)

    def act() -> str:
        if request.form.get("scope") == PauseScope.ESI.value:
            return f"What talks to ESI goes on: {', '.join(queues.resume_esi())}."
        chosen.resume()
        return (
            "The queue is still paused otherwise."
            if chosen.snapshot(window_seconds=0).is_paused
            else "The queue runs again."
        )

    return done(act, queue_path(queue))


@pages.post("/admin/esi/pause")
def pause_esi() -> Response:
    """Let no job start that talks to ESI."""

    def act() -> str:
        asked, until = _asked()
        return f"What talks to ESI is paused {until}: {', '.join(all_queues().pause_esi(**asked))}."

    return done(act, link("/admin/"))


@pages.post("/admin/esi/resume")
def resume_esi() -> Response:
    """Let what talks to ESI go on."""

    def act() -> str:
        return f"What talks to ESI goes on: {', '.join(all_queues().resume_esi())}."

    return done(act, link("/admin/"))


@pages.post("/admin/queues/<queue>/limits")
def limits(queue: str) -> Response:
    """Set all limits of the queue; an empty field lifts one."""
    chosen = all_queues().get_queue(queue)

    def act() -> str:
        period = request.form.get("seconds", "").strip()
        chosen.set_limits(
            Limits(
                concurrency=_limit("concurrency", MAX_AT_A_TIME),
                starts=_limit("starts", MAX_STARTS),
                period_ms=seconds_ms("seconds", period, MAX_PAUSE_MS) if period else None,
                max_length=_limit("length", MAX_LENGTH),
            )
        )
        return "The limits hold at once, everywhere."

    return done(act, queue_path(queue))


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
