"""How one run of a job ended: what middleware gets after Redis has confirmed it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from dramatiq import Message


class Outcome(enum.StrEnum):
    """How one run ended; the label `outcome` of the attempts counter."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    RETRIED = "retried"
    DEFERRED = "deferred"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    RECOVERED = "recovered"


# Not frozen: that makes the constructor three times as slow, and each job creates one.
@dataclass(slots=True, kw_only=True)
class Ended:
    """One run of a job that has ended; middleware can define two methods that get `(broker, endings)`.

    `after_settle` is called at once, before another job starts: for what must be counted even if the process is killed
    now. `report_settled` is called some ms later, while Redis works on the next round: for log lines. Both run on the
    thread that settles and sends heartbeats for this process, so work of more than a few ms belongs on another thread.
    """

    queue: str
    actor: str
    job_id: str
    outcome: Outcome
    #: Number of the attempt; the first is 1.
    attempt: int
    #: When the job became due, started and ended: ms since the epoch by Redis' clock.
    ready_ms: int
    started_ms: int
    ended_ms: int
    #: From due to start, and from start to end.
    wait_ms: float
    run_ms: float
    #: "ClassName: message" of the error.
    error: str | None
    #: None if the body could not be read.
    message: Message[Any] | None
