"""Pauses of one queue and of all ESI queues, and the queues' limits."""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from nomad_actors.broker.records.limits import Limits
from nomad_actors.queues import Queue
from nomad_actors.queues.across_queues import read_snapshots
from nomad_actors.queues.models import LimitsInForce
from nomad_actors.queues.queue import MAX_CONCURRENCY, MAX_LENGTH, MAX_PAUSE_MS, MAX_STARTS

from ..access.actors import current_actor
from ..current_app import all_queues
from ..inputs import MAX_REASON_CHARS, Input
from .declared import ThisQueue, declared
from .models import Done, EsiSwitch

api = Blueprint("pauses", __name__, url_prefix="/admin/jobs")


class PauseBody(Input):
    """The reason and the duration of a pause."""

    reason: str = Field(default="", max_length=MAX_REASON_CHARS, description="shown with the pause")
    for_ms: int | None = Field(
        default=None,
        ge=1,
        le=MAX_PAUSE_MS,
        description="it ends by itself after this time; by default it ends when it is resumed",
    )


class NewLimits(Input):
    """All limits of a queue; null removes one."""

    concurrency: int | None = Field(ge=1, le=MAX_CONCURRENCY, description="jobs that run at the same time on all hosts")
    starts: int | None = Field(ge=1, le=MAX_STARTS, description="jobs that start per period; requires `periodMs`")
    period_ms: int | None = Field(ge=1, le=MAX_PAUSE_MS)
    max_length: int | None = Field(
        ge=1, le=MAX_LENGTH, description="maximum waiting and delayed jobs; more are refused"
    )


@api.post("/queues/<queue>/pause")
@declared(Done)
def pause(queue: ThisQueue, body: PauseBody) -> Done:
    """Pause a queue until it is resumed, or for some time: no job starts; running jobs finish."""
    queue.pause(reason=body.reason, by=current_actor().name, for_ms=body.for_ms)
    return Done(success=True, queue_name=queue.name, status="paused")


@api.post("/queues/<queue>/resume")
@declared(Done)
def resume(queue: ThisQueue) -> Done:
    """Resume a queue; it stays paused while all ESI queues are paused."""
    queue.resume()
    is_paused = queue.snapshot(window_seconds=0).is_paused
    return Done(success=True, queue_name=queue.name, status="paused" if is_paused else "running")


@api.get("/queues/<queue>/limits")
@declared(LimitsInForce)
def limits(queue: ThisQueue) -> LimitsInForce:
    """Show a queue's limits."""
    return _limits(queue)


@api.put("/queues/<queue>/limits")
@declared(LimitsInForce)
def set_limits(queue: ThisQueue, body: NewLimits) -> LimitsInForce:
    """Set all limits of a queue; they apply at once, on all hosts."""
    queue.set_limits(Limits(body.concurrency, body.starts, body.period_ms, body.max_length))
    return _limits(queue)


@api.post("/esi/pause")
@declared(EsiSwitch)
def pause_esi(body: PauseBody) -> EsiSwitch:
    """Pause all queues that use ESI or its SSO; pauses of single queues are independent of it."""
    all_queues().pause_esi(reason=body.reason, by=current_actor().name, for_ms=body.for_ms)
    return _switch()


@api.post("/esi/resume")
@declared(EsiSwitch)
def resume_esi() -> EsiSwitch:
    """Resume all ESI queues; those with their own pause stay paused."""
    all_queues().resume_esi()
    return _switch()


def _limits(queue: Queue) -> LimitsInForce:
    return LimitsInForce.of_queue(queue.snapshot(window_seconds=0))


def _switch() -> EsiSwitch:
    return EsiSwitch.of(all_queues().esi_queues(), read_snapshots(all_queues()))
