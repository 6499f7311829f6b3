"""How one run of a job ended, as middleware is told once Redis has confirmed it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from dramatiq import Message


class Outcome(enum.StrEnum):
    """What became of one run; the label `outcome` of the attempts counter."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    RETRIED = "retried"
    DEFERRED = "deferred"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    RECOVERED = "recovered"


# Not frozen: freezing makes the constructor three times as dear, and there is one of these a job.
@dataclass(slots=True, kw_only=True)
class Ended:
    """One run of a job that is over, as middleware that defines these methods is told with `(broker, endings)`.

    `after_settle` at once, before another job starts: for what must be counted though the process be killed now.
    `report_settled` while Redis works on the next round, some ms later: for lines. Both run on the thread that settles
    and beats for this process: what takes longer than some ms belongs on a thread of its own.
    """

    queue: str
    actor: str
    job_id: str
    outcome: Outcome
    #: Which attempt this run was, 1 for the first.
    attempt: int
    #: When the job became due, when it started, when it ended: milliseconds since the epoch, Redis' time.
    ready_ms: int
    started_ms: int
    ended_ms: int
    #: Due to start, and start to end.
    wait_ms: float
    run_ms: float
    #: "ClassName: message" of what went wrong.
    error: str | None
    #: None when the body could not be read.
    message: Message[Any] | None
