"""A job type that fails or takes its time as it is told: what the alerts are to notice."""

from __future__ import annotations

import time

from nomad_actors import JobType, Payload, PermanentError, Result


class Watched(Payload):
    """What a job does."""

    seconds: float = 0.0
    fail: bool = False


class Seen(Result):
    """Nothing to tell."""


def watched(payload: Watched) -> Seen:
    """Take a while, and fail when told; running twice changes nothing."""
    time.sleep(payload.seconds)
    if payload.fail:
        raise PermanentError("told to fail")
    return Seen()


WATCHED = JobType(name="watched", queue="watched", payload=Watched, result=Seen, run=watched, concurrency=10)
