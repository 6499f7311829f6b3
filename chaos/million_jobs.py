"""The job type for the proof with a million jobs."""

from __future__ import annotations

from nomad_actors.queues.job_type import JobType, Payload, Result


class Letter(Payload):
    """A letter to a character."""

    character_id: int
    number: int
    fail: bool = False


def deliver(payload: Letter) -> Result:
    """Deliver it, or fail for one of three reasons."""
    if payload.fail:
        raise ValueError(f"character {payload.character_id} has no mailbox of kind {'abc'[payload.number % 3]}")
    return Result()


LETTER = JobType(
    name="letter",
    queue="post",
    payload=Letter,
    result=Result,
    run=deliver,
    attempts=1,
    concurrency=16,
    indexed=("character_id",),
    uses_esi=True,
)
JOB_TYPES = (LETTER,)
