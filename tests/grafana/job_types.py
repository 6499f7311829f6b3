"""Job types for tests: jobs end as their payload says; the queue of one job type stays paused."""

from __future__ import annotations

from nomad_actors import JobType, Payload, PermanentError, Result
from nomad_actors.queues.policy import Backoff


class Ending(Payload):
    """How the job ends: complete, fail or retry."""

    ending: str


def run(payload: Ending) -> Result:
    """End as the payload says."""
    if payload.ending == "fail":
        raise PermanentError("asked to fail")
    if payload.ending == "retry":
        raise RuntimeError("asked to fail once")
    return Result()


MIXED = JobType(name="mixed", queue="mixed", payload=Ending, result=Result, run=run, backoff=Backoff("fixed", 200))
PAUSED = JobType(name="held", queue="held", payload=Ending, result=Result, run=run)
