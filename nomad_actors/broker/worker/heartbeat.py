"""A worker's signs of life: what they say to Redis, and what Redis has to say."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from .. import records
from ..client.link import Call
from ..endings import Ended, Outcome
from ..errors import UnreadableBody
from ..redis_clock import ClockReply, boot_seconds
from .lease import Lease
from .queue_state import Place
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.heartbeat")


def call(place: Place, worker_id: bytes, name: str, lease_ms: int, held: Iterable[Lease]) -> Call:
    """Return the script by which a worker names the jobs it holds; any other lease of its own is none."""
    arguments: list[bytes | str | int | float] = [worker_id, name, place.request, lease_ms, place.clock.evidence()]
    for lease in held:
        arguments += (lease.stored_id, lease.token)
    return Call("beat", place.base, arguments)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What Redis says to a beat."""

    now_ms: float
    due_ms: float | None
    waiting: int
    active: int
    #: Ids that were named and are this worker's no longer.
    lost: frozenset[bytes]
    #: Ids that were named and shall be cancelled.
    cancelled: frozenset[bytes]
    #: Jobs whose worker is gone.
    recovered: list[Ended]
    #: Whether there is more to do by the next beat: jobs of a bulk that has lost its caller, delayed jobs to set right.
    more: bool
    clock: ClockReply


def read(place: Place, reply: list[Any]) -> Answer:
    """Return what a beat's reply says."""
    now, due, waiting, active, lost, cancelled, recovered, more, clock = reply
    now_ms = float(now)
    return Answer(
        now_ms,
        float(due) if due else None,
        waiting,
        active,
        frozenset(lost),
        frozenset(cancelled),
        [_recovered(place, now_ms, *recovered[i : i + 3]) for i in range(0, len(recovered), 3)],
        bool(more),
        ClockReply.read(clock),
    )


def look_at_clock(place: Place, reply: ClockReply, sent: float) -> None:
    """Take in what a beat says of the queue's clock, and log a step of Redis' clock that was taken out by it."""
    if reply.set_by_ms:
        logger.error(
            "Redis' clock stepped by %+.0f s: delayed jobs and leases of queue %s go on by the workers' own clocks",
            reply.set_by_ms / 1000,
            place.name,
        )
    place.clock_in_doubt = place.clock.take(reply, sent, boot_seconds())
    if place.clock.certain:
        place.beat_mono = 0.0


def _recovered(place: Place, now_ms: float, stored_id: bytes, outcome: bytes, value: bytes) -> Ended:
    job_id = records.unpack_id(stored_id)
    header, body = records.unpack_head(value)
    try:
        message = records.unpack_body(place.name, job_id, header, value[body])
    except UnreadableBody:
        message = None
    ended = Ended(
        queue=place.name,
        actor=message.actor_name if message else "unknown",
        job_id=job_id,
        outcome=Outcome(outcome.decode()),
        attempt=header.attempts + 1,
        ready_ms=int(header.ready_ms),
        started_ms=int(header.started_ms),
        ended_ms=int(now_ms),
        wait_ms=max(0.0, header.started_ms - header.ready_ms),
        run_ms=max(0.0, now_ms - header.started_ms),
        error=f"lost its worker (crash {header.crashes})" if header.crashes else "lost its worker",
        message=message,
    )
    logger.warning("job %s of queue %s lost its worker: %s", job_id, place.name, ended.outcome)
    return ended
