"""A job type that is slow or fails on request, to fire alerts."""

from __future__ import annotations

import time

from nomad_actors import JobType, Payload, PermanentError, Result


class Watched(Payload):
    """Duration and outcome of the job."""

    seconds: float = 0.0
    fail: bool = False


class Seen(Result):
    """An empty result."""


def watched(payload: Watched) -> Seen:
    """Sleep, then fail if requested; running twice changes nothing."""
    time.sleep(payload.seconds)
    if payload.fail:
        raise PermanentError("failure was requested")
    return Seen()


WATCHED = JobType(name="watched", queue="watched", payload=Watched, result=Seen, run=watched, concurrency=10)
