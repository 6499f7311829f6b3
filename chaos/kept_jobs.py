"""Job types whose payload says how they end, and that record each run: a restart must lose none."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

from nomad_actors import Backoff, Defer, JobType, Payload, PermanentError, Result, current_job

#: Path of the file with the numbers of completed jobs, one per line; without it none is written.
LEDGER = "CHAOS_LEDGER"


class Kept(Payload):
    """One numbered job, and how it ends."""

    number: int
    end: Literal["complete", "fail", "retry", "defer", "run"] = "complete"
    seconds: float = 0.0


class Ran(Result):
    """The result of a completed job."""

    number: int


def run(payload: Kept) -> Ran:
    """End as the payload says; running twice harmlessly writes the number twice."""
    job = current_job()
    job.progress(1, 2, "half done")
    job.log(f"number {payload.number}")
    time.sleep(payload.seconds)
    if payload.end == "fail":
        raise PermanentError("as requested by the payload")
    if payload.end == "retry":
        raise ValueError("as requested by the payload")
    if payload.end == "defer":
        raise Defer(3_600, "as requested by the payload")
    while payload.end == "run":
        time.sleep(0.05)
    _append_to_ledger(payload.number)
    return Ran(number=payload.number)


def _append_to_ledger(number: int) -> None:
    if path := os.environ.get(LEDGER):
        # One write to the end of the file, so it is not lost with this process.
        with Path(path).open("ab", buffering=0) as file:
            file.write(b"%d\n" % number)


def _job_type(name: str) -> JobType[Kept, Ran]:
    return JobType(
        name=name,
        queue=name,
        payload=Kept,
        result=Ran,
        run=run,
        concurrency=4,
        attempts=3,
        backoff=Backoff("fixed", 3_600_000),
        indexed=("number", "end"),
        time_limit_ms=3_600_000,
    )


KEPT = _job_type("kept")
#: Its queue is paused and has limits.
KEPT_PAUSED = _job_type("kept-paused")
#: Its jobs run when their worker is killed.
KEPT_RUNNING = _job_type("kept-running")
