"""Job types of a test: one whose jobs end in the way that they are told to, and one whose queue stays paused."""

from __future__ import annotations

from nomad_actors import JobType, Payload, PermanentError, Result
from nomad_actors.queues.policy import Backoff


class Way(Payload):
    """How the job ends: complete, fail or retry."""

    way: str


def run(payload: Way) -> Result:
    """End in that way."""
    if payload.way == "fail":
        raise PermanentError("asked to fail")
    if payload.way == "retry":
        raise RuntimeError("asked to fail this time")
    return Result()


MIXED = JobType(name="mixed", queue="mixed", payload=Way, result=Result, run=run, backoff=Backoff("fixed", 200))
HELD = JobType(name="held", queue="held", payload=Way, result=Result, run=run)
