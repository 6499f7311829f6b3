"""Job types that end as they are told and write down that they ran: what a restart must not lose."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

from nomad_actors import Backoff, Defer, JobType, Payload, PermanentError, Result, current_job

#: The file of the numbers of the jobs that ran to their end, one a line; none is written without it.
LEDGER = "CHAOS_LEDGER"


class Kept(Payload):
    """One numbered job, and how it ends."""

    number: int
    end: Literal["complete", "fail", "retry", "defer", "run"] = "complete"
    seconds: float = 0.0


class Ran(Result):
    """What is kept of a job that completed."""

    number: int


def run(payload: Kept) -> Ran:
    """Do what the payload says; running twice writes the number twice, and harms nobody."""
    job = current_job()
    job.progress(1, 2, "half done")
    job.log(f"number {payload.number}")
    time.sleep(payload.seconds)
    if payload.end == "fail":
        raise PermanentError("as it was told")
    if payload.end == "retry":
        raise ValueError("as it was told")
    if payload.end == "defer":
        raise Defer(3_600, "as it was told")
    while payload.end == "run":
        time.sleep(0.05)
    _write_down(payload.number)
    return Ran(number=payload.number)


def _write_down(number: int) -> None:
    if path := os.environ.get(LEDGER):
        # One write, at the end of the file: nothing of it is lost with this process.
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
#: Its queue is paused, and has limits.
KEPT_PAUSED = _job_type("kept-paused")
#: Its jobs are the ones that run when their worker is killed.
KEPT_RUNNING = _job_type("kept-running")
