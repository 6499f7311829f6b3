"""What keeps jobs from starting or from being added: pauses, the switch of all that talks to ESI, limits."""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from nomad_actors.broker.records.limits import Limits
from nomad_actors.queues import Queue
from nomad_actors.queues.across_queues import read_snapshots
from nomad_actors.queues.models import LimitsInForce, Pause
from nomad_actors.queues.queue import MAX_AT_A_TIME, MAX_LENGTH, MAX_PAUSE_MS, MAX_STARTS
from nomad_actors.queues.snapshot import QueueSnapshot

from ..access.actors import current_actor
from ..current_app import all_queues
from ..esi_switch import esi_switch
from ..inputs import Body
from ..sizes import MAX_REASON_CHARS
from .declared import ThisQueue, declared
from .models.actions import Done, EsiSwitch

api = Blueprint("holds", __name__, url_prefix="/admin/jobs")


class Pausing(Body):
    """Why, and for how long."""

    reason: str = Field(default="", max_length=MAX_REASON_CHARS, description="shown wherever the pause is")
    for_ms: int | None = Field(
        default=None, ge=1, le=MAX_PAUSE_MS, description="it resumes by itself then; else when it is resumed"
    )


class NewLimits(Body):
    """All of a queue's limits; null lifts one."""

    concurrency: int | None = Field(ge=1, le=MAX_AT_A_TIME, description="jobs at a time over all hosts")
    starts: int | None = Field(ge=1, le=MAX_STARTS, description="jobs that start in a period; goes with `periodMs`")
    period_ms: int | None = Field(ge=1, le=MAX_PAUSE_MS)
    max_length: int | None = Field(
        ge=1, le=MAX_LENGTH, description="how many may be waiting or delayed before more are refused"
    )


@api.post("/queues/<queue>/pause")
@declared(Done)
def pause(queue: ThisQueue, body: Pausing) -> Done:
    """Let no job of the queue start until it is resumed, or for some time; running ones finish."""
    queue.pause(reason=body.reason, by=current_actor().name, for_ms=body.for_ms)
    return Done(success=True, queue_name=queue.name, status="paused")


@api.post("/queues/<queue>/resume")
@declared(Done)
def resume(queue: ThisQueue) -> Done:
    """Let jobs start again, unless all that talks to ESI is paused."""
    queue.resume()
    return Done(success=True, queue_name=queue.name, status="paused" if _state(queue).is_paused else "running")


@api.get("/queues/<queue>/limits")
@declared(LimitsInForce)
def limits(queue: ThisQueue) -> LimitsInForce:
    """Show a queue's limits."""
    return _limits(queue)


@api.put("/queues/<queue>/limits")
@declared(LimitsInForce)
def set_limits(queue: ThisQueue, body: NewLimits) -> LimitsInForce:
    """Set all of a queue's limits; they hold at once, everywhere."""
    queue.set_limits(Limits(body.concurrency, body.starts, body.period_ms, body.max_length))
    return _limits(queue)


@api.get("/esi")
@declared(EsiSwitch)
def esi() -> EsiSwitch:
    """Show which queues talk to ESI, and since when and why they are paused together."""
    return _switch()


@api.post("/esi/pause")
@declared(EsiSwitch)
def pause_esi(body: Pausing) -> EsiSwitch:
    """Let no job start that talks to ESI or its login; pauses of single queues stay beside it."""
    all_queues().pause_esi(reason=body.reason, by=current_actor().name, for_ms=body.for_ms)
    return _switch()


@api.post("/esi/resume")
@declared(EsiSwitch)
def resume_esi() -> EsiSwitch:
    """Let what talks to ESI go on, but for queues that are paused themselves."""
    all_queues().resume_esi()
    return _switch()


def _state(queue: Queue) -> QueueSnapshot:
    return queue.snapshot(window_seconds=0)


def _limits(queue: Queue) -> LimitsInForce:
    return LimitsInForce.of_queue(_state(queue))


def _switch() -> EsiSwitch:
    switch = esi_switch(all_queues(), read_snapshots(all_queues()))
    return EsiSwitch(
        queues=list(switch.queues),
        is_paused=switch.is_paused,
        running=switch.running,
        pause=None if switch.pause is None else Pause.of(switch.pause),
        pauses={name: Pause.of(pause) for name, pause in switch.pauses.items()},
    )
